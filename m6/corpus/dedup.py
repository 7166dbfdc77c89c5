"""Duplicates: Documents that say and show the same as another one, or nearly the same.

In: the tables of cleaned Documents, with the columns of `KEYS` beside their own. Out: for each Document to drop, by id,
the reason and the id of the one that is kept.

A near duplicate is found in two steps. Candidates share a band of their MinHash signature (texts) or a block of their
difference hash (pictures); Daft groups them. Each pair of candidates is then compared exactly, and the pairs that hold
are joined to connected components, of which the smallest id is kept. Ids are hashes of the content, so the result does
not depend on how the Documents were spread over files, nor on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from m6.corpus.config import DuplicatesConfig
from m6.corpus.connected import connected_components
from m6.corpus.engine import daft

KEYS = pa.schema(
    [
        ("content", pa.string()),  # hash of text and pictures, without the source
        ("letters", pa.string()),  # what near duplicates of texts are found by, or null
        ("picture", pa.uint64()),  # difference hash of the picture, or null
        ("blocks", pa.list_(pa.int64())),  # the same, cut in blocks
    ]
)
HASH_BITS = 64


class Duplicate(NamedTuple):
    """Why a Document is dropped, and which one says the same."""

    reason: str
    kept: str


def blocks(picture: int, distance: int) -> list[int]:
    """A hash of 64 bits cut in `distance` + 1 blocks, each with its place. Two hashes that differ in at most
    `distance` bits agree in at least one of them, so no pair is missed."""
    edges = [HASH_BITS * number // (distance + 1) for number in range(distance + 2)]
    return [
        number << 32 | picture >> low & (1 << high - low) - 1  # a block has at most 32 bits
        for number, (low, high) in enumerate(pairwise(edges))
    ]


def jaccard(first: set[str], second: set[str]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def ngrams(letters: str, size: int) -> set[str]:
    """All runs of `size` characters."""
    return {letters[start : start + size] for start in range(len(letters) - size + 1)}


def find_duplicates(files: list[Path], config: DuplicatesConfig) -> dict[str, Duplicate]:
    """The Documents to drop, by id."""
    frame = daft().read_parquet([str(path) for path in files])
    found = _exact(frame)
    for search in (_near_texts, _near_images):
        found.update(search(frame, found, config))
    return found


def _exact(frame: Any) -> dict[str, Duplicate]:
    groups = _groups(frame.select("id", "content"), "content")
    pairs = ((group[0], other) for group in groups for other in group[1:])
    return _components(pairs, "exact duplicate")


def _near_texts(frame: Any, dropped: dict[str, Duplicate], config: DuplicatesConfig) -> dict[str, Duplicate]:
    col = daft().col
    frame = frame.select("id", "letters").where(col("letters").not_null() & (col("letters").length() >= config.ngram))
    spaced = col("letters").regexp_replace("(.)", "$1 ").rstrip()  # Daft's MinHash counts words
    signature = spaced.minhash(num_hashes=config.bands * config.rows, ngram_size=config.ngram, seed=1)
    bands = frame.select("id", signature.chunk(config.rows).alias("band")).explode("band")
    groups = _groups(bands, "band", dropped)
    wanted = sorted({identity for group in groups for identity in group})
    if not wanted:
        return {}
    rows = frame.where(col("id").is_in(wanted)).to_pydict()
    grams = {
        identity: ngrams(letters, config.ngram) for identity, letters in zip(rows["id"], rows["letters"], strict=True)
    }
    return _components(
        _verified(groups, lambda one, other: jaccard(grams[one], grams[other]) >= config.similarity),
        "near-duplicate text",
    )


def _near_images(frame: Any, dropped: dict[str, Duplicate], config: DuplicatesConfig) -> dict[str, Duplicate]:
    col = daft().col
    frame = frame.select("id", "picture", "blocks").where(col("picture").not_null())
    groups = _groups(frame.select("id", "blocks").explode("blocks"), "blocks", dropped)
    wanted = sorted({identity for group in groups for identity in group})
    if not wanted:
        return {}
    rows = frame.where(col("id").is_in(wanted)).select("id", "picture").to_pydict()
    hashes = dict(zip(rows["id"], rows["picture"], strict=True))
    return _components(
        _verified(groups, lambda one, other: (hashes[one] ^ hashes[other]).bit_count() <= config.image_distance),
        "near-duplicate picture",
    )


def _groups(frame: Any, key: str, dropped: Iterable[str] = ()) -> list[tuple[str, ...]]:
    """Ids that share a key, in order; groups of one are left out."""
    ids = daft().col("id")
    frame = frame.groupby(key).agg(ids.list_agg()).where(ids.list_count() > 1).select("id")
    groups = (sorted(set(group).difference(dropped)) for group in frame.to_pydict()["id"])
    return sorted({tuple(group) for group in groups if len(group) > 1})


def _verified(groups: Iterable[Iterable[str]], same: Callable[[str, str], bool]) -> Iterable[tuple[str, str]]:
    """The pairs within groups that hold, each compared once."""
    seen: set[tuple[str, str]] = set()
    for group in groups:
        for pair in combinations(group, 2):
            if pair not in seen:
                seen.add(pair)
                if same(*pair):
                    yield pair


def _components(pairs: Iterable[tuple[str, str]], reason: str) -> dict[str, Duplicate]:
    """All but the smallest id of each connected component."""
    joined = list(pairs)
    ids = sorted({identity for pair in joined for identity in pair})
    number = {identity: position for position, identity in enumerate(ids)}
    roots = connected_components(len(ids), ((number[one], number[other]) for one, other in joined))
    return {ids[node]: Duplicate(reason, ids[root]) for node, root in enumerate(roots) if node != root}
