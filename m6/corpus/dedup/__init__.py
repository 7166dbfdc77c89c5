"""Duplicates: Documents that say and show the same as another one, or nearly the same.

    keys.py             Document -> its row of keys, in the workers that clean
    grouping.py         which rows share a key, in constant memory, on one machine or a cluster
    exact.py            what is found in the keys alone: equal Documents, near-equal pictures, captions, paragraphs
    similar_texts.py       near-duplicate texts: MinHash candidates, verified (`minhash.py`, `ngram_sets.py`)
    paragraphs.py       long lines that stand in many Documents
    contamination.py    texts of evaluation sets, in the workers that clean

A Document is known by its position: the number of its part, times 2^32, plus its row. Cutting the work differently
renumbers Documents but never reorders them, and of duplicates the first stays; so the same Documents stay however the
work was cut and whichever engine did it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from m6.corpus.config import CorpusConfig
from m6.corpus.dedup.connected import spanning
from m6.corpus.dedup.contamination import Against, against
from m6.corpus.dedup.exact import NOWHERE, captions_of_many, near_pictures, same_content, same_letters
from m6.corpus.dedup.grouping import FOLDER, search
from m6.corpus.dedup.keys import KEYS, blocks, keys_of, line_hash
from m6.corpus.dedup.ngram_sets import read_texts
from m6.corpus.dedup.paragraphs import Paragraphs, find_paragraphs, read_paragraphs
from m6.corpus.dedup.similar_texts import near_texts

__all__ = [
    "KEYS",
    "Against",
    "Cluster",
    "Paragraphs",
    "against",
    "blocks",
    "cluster_sizes",
    "find_duplicates",
    "find_paragraphs",
    "keys_of",
    "largest_clusters",
    "line_hash",
    "read_paragraphs",
]

DUPLICATES = pa.schema(
    [
        ("position", pa.uint64()),  # of the Document that is dropped
        ("reason", pa.dictionary(pa.int8(), pa.string())),
        ("kept", pa.uint64()),  # position of the one that stays, null if none does
    ]
)
SAMPLE_CHARACTERS = 80
REASONS = ("exact duplicate", "near-duplicate text", "near-duplicate picture", "same text on many pictures")


def find_duplicates(parts: Sequence[Path], config: CorpusConfig) -> pa.Table:
    """The Documents to drop, sorted by position: a table of `DUPLICATES`.

    `parts` are the files of Documents in order; beside each lies that of its keys. Files on the way go into a folder
    `duplicates` beside them. The memory it takes does not depend on the number of Documents, but for 16 bytes a pair.
    """
    if not parts:
        return DUPLICATES.empty_table()
    rules, engine = config.duplicates, config.engine
    # Pairs (the one that stays, the one that is dropped); each search passes over what the ones before it drop.
    exact = search(same_content(), parts, engine)
    letters = search(same_letters(), parts, engine, _dropped(exact))
    near = near_texts(parts, rules, engine, _dropped(exact, letters))
    texts = spanning(np.concatenate([letters, near], axis=1))
    pictures = spanning(search(near_pictures(rules.image_distance), parts, engine, _dropped(exact, texts)))
    captions = search(captions_of_many(), parts, engine, _dropped(exact, texts, pictures))
    shutil.rmtree(parts[0].parent / FOLDER)
    return _table([exact, texts, pictures, captions])


def _dropped(*pairs: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate([dropped for _, dropped in pairs]))


def _table(found: list[np.ndarray]) -> pa.Table:
    kept, dropped = np.concatenate(found, axis=1)
    reason = np.repeat(np.arange(len(REASONS), dtype=np.int8), [pairs.shape[1] for pairs in found])
    order = np.argsort(dropped)
    kept, dropped, reason = kept[order], dropped[order], reason[order]
    for _ in range(len(found) - 1):  # the one that an exact duplicate equals may itself be dropped by a later search
        place = np.minimum(np.searchsorted(dropped, kept), max(len(dropped) - 1, 0))
        kept = np.where(dropped[place] == kept, kept[place], kept)
    reasons = pa.DictionaryArray.from_arrays(pa.array(reason), pa.array(REASONS))
    return pa.table([pa.array(dropped), reasons, pa.array(kept, mask=kept == NOWHERE)], DUPLICATES)


class Cluster(NamedTuple):
    """Documents of which one stays."""

    reason: str
    size: int  # with the one that stays
    samples: list[str]  # beginnings of texts, that of the one that stays first


def cluster_sizes(duplicates: pa.Table) -> dict[str, list[int]]:
    """By reason, how many Documents each cluster has, with the one that stays."""
    _, counts, loosest = _clusters(duplicates)
    return {reason: (counts[loosest == number] + 1).tolist() for number, reason in enumerate(REASONS)}


def _clusters(duplicates: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cluster of which one stays: the position of that one, how many are dropped, and the number of the reason.
    Where several have led to a cluster, it is the last one: a near duplicate may have exact duplicates of its own."""
    some = duplicates.filter(pc.is_valid(duplicates["kept"]))
    keepers, cluster, counts = np.unique(some["kept"].to_numpy(), return_inverse=True, return_counts=True)
    loosest = np.zeros(len(keepers), dtype=np.int64)
    np.maximum.at(loosest, cluster, pc.index_in(some["reason"].cast(pa.string()), pa.array(REASONS)).to_numpy())
    return keepers, counts, loosest


def largest_clusters(duplicates: pa.Table, parts: Sequence[Path], most: int = 5, samples: int = 3) -> list[Cluster]:
    """For the report, the largest clusters of each reason for which one stays."""
    found = []
    keepers, counts, loosest = _clusters(duplicates)
    for number, reason in enumerate(REASONS):
        chosen = np.flatnonzero(loosest == number)
        for place in chosen[np.lexsort((keepers[chosen], -counts[chosen]))][:most].tolist():
            others = duplicates.filter(pc.equal(duplicates["kept"], keepers[place]).fill_null(False))["position"]
            positions = np.concatenate([keepers[place : place + 1], others.to_numpy()[: samples - 1]])
            texts = [text[:SAMPLE_CHARACTERS] for texts in read_texts(parts, np.sort(positions)) for text in texts]
            found.append(Cluster(reason, int(counts[place]) + 1, texts))
    return found
