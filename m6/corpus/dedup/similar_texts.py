"""Near-duplicate texts: candidates by MinHash, verified exactly.

    keys -> buckets: texts that agree in a band of their signature             (`grouping.py`)
    texts that stand in a bucket -> files of their sets of n-grams             (a worker a stretch of texts)
    some buckets -> pairs of texts whose Jaccard similarity reaches the threshold      (a worker a batch of buckets)

There are enough pairs to join all texts that such pairs would join, so the result is that of comparing every two texts
of every bucket. It is had for much less work:

- two texts that are joined already are not compared, so a cluster of k costs about k comparisons;
- most texts that are not similar are told apart by their sizes and by bitmaps of their n-grams;
- a large bucket is first divided by prefixes. If two sets of n-grams have a similarity of at least s, and each is put
  in one order for all, then the first (1 - s) n + 1 of the n elements of either have one in common. With rare n-grams
  first, texts made from one template share few of these, and are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from m6.corpus.config import DuplicatesConfig, EngineConfig
from m6.corpus.dedup import minhash
from m6.corpus.dedup.connected import connect, spanning
from m6.corpus.dedup.exact import items
from m6.corpus.dedup.grouping import FOLDER, Search, save, search, starts_of, work
from m6.corpus.dedup.ngram_sets import NgramSets, join, read_texts

NGRAMS = 1 << 20  # in the texts that are compared at once
LARGE = 64  # texts in a bucket that is divided


def near_texts(
    parts: Sequence[Path], config: DuplicatesConfig, engine: EngineConfig, without: np.ndarray
) -> np.ndarray:
    """Pairs of positions, (2, n) uint64, that span the near duplicates; positions in `without` are passed over."""
    buckets = _distinct(search(_bands(), parts, engine, without))
    if not buckets.size:
        return buckets[:2]
    folder = parts[0].parent / FOLDER / "texts"
    folder.mkdir(parents=True, exist_ok=True)
    positions, first = np.unique(buckets[2], return_index=True)
    save(folder / "buckets.npy", buckets)
    save(folder / "positions.npy", positions)
    stretches = _cut(np.arange(len(positions) + 1), buckets[1, first])
    batches = _cut(starts_of(buckets[0]), buckets[1])
    set_files = [folder / f"sets-{number:06d}.npy" for number in range(len(stretches) - 1)]
    pair_files = [folder / f"pairs-{number:06d}.npy" for number in range(len(batches) - 1)]

    def read(number: int) -> None:
        some = np.load(folder / "positions.npy", mmap_mode="r")[slice(*stretches[number : number + 2])]
        NgramSets.of(read_texts(parts, np.array(some)), config.ngram).save(set_files[number])

    def compare(number: int) -> None:
        bucket, _, position = np.load(folder / "buckets.npy", mmap_mode="r")[:, slice(*batches[number : number + 2])]
        wanted, members = np.unique(position, return_inverse=True)
        places = np.searchsorted(np.load(folder / "positions.npy", mmap_mode="r"), wanted)
        edges = np.searchsorted(places, stretches)
        sets = [
            NgramSets.load(file).take(places[first:last] - start)
            for file, start, first, last in zip(set_files, stretches[:-1], edges[:-1], edges[1:], strict=True)
            if first < last
        ]
        pairs = similar_pairs(join(sets), starts_of(bucket), members, config.similarity)
        save(pair_files[number], wanted[pairs])

    work(read, set_files, engine)
    work(compare, pair_files, engine)
    return spanning(np.concatenate([np.load(file) for file in pair_files], axis=1))


def _bands() -> Search:
    """Buckets: (number in the range of keys, n-grams of the text, position)."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, rows = items(batch["bands"])
        return keys, batch["ngrams"].fill_null(0).to_numpy(zero_copy_only=False)[rows], rows

    def found(keys: np.ndarray, sizes: np.ndarray, positions: np.ndarray) -> np.ndarray:
        order = np.lexsort((positions, keys))
        return _distinct(np.stack([keys, sizes, positions])[:, order])

    return Search("bands", ("bands", "ngrams"), entries, found)


def _distinct(buckets: np.ndarray) -> np.ndarray:
    """Each set of texts once, though it may share several bands; those with the same first text side by side."""
    if not buckets.size:
        return buckets
    keys, _, positions = buckets
    starts = starts_of(keys)
    sums = np.add.reduceat(minhash.mix(positions), starts[:-1])
    _, chosen = np.unique(sums, return_index=True)
    sizes = np.diff(starts)
    chosen = chosen[np.lexsort((sums[chosen], -sizes[chosen], positions[starts[:-1]][chosen]))]
    lengths = sizes[chosen]
    before = np.cumsum(lengths) - lengths
    members = np.arange(lengths.sum()) + np.repeat(starts[:-1][chosen] - before, lengths)
    return buckets[:, members]


def _cut(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Edges of batches of entries, `sizes` n-grams each, so that a batch has at most `NGRAMS`; what lies between two of
    `starts` is not parted, however much it has."""
    total = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[starts]
    chosen = [0]
    while chosen[-1] < len(starts) - 1:
        room = int(np.searchsorted(total, total[chosen[-1]] + NGRAMS, "right")) - 1
        chosen.append(max(chosen[-1] + 1, room))
    return starts[chosen]


def similar_pairs(sets: NgramSets, starts: np.ndarray, members: np.ndarray, similarity: float) -> np.ndarray:
    """Pairs of texts (2, n) that span what is joined by pairs of similar texts in one bucket. Bucket i holds the texts
    `members[starts[i]:starts[i + 1]]`, numbers of `sets`.

    Round r compares the text r of every bucket with those after it that are not joined to it yet.
    """
    starts, members = _divided(sets, starts, members, similarity)
    count = len(sets.sizes)
    bitmaps = sets.bitmaps()
    label = np.arange(count)
    pairs = [np.empty((2, 0), np.int64)]
    compared = np.empty(0, np.int64)
    firsts, lasts = starts[:-1], starts[1:]
    while len(firsts):
        left = lasts - firsts - 1
        one = np.repeat(members[firsts], left)
        other = members[np.arange(left.sum()) + np.repeat(firsts + 1 - np.cumsum(left) + left, left)]
        asked = label[one] != label[other]
        asked[asked] = _may_be_similar(sets.sizes, bitmaps, one[asked], other[asked], similarity)
        asked = np.unique(np.minimum(one, other)[asked] * count + np.maximum(one, other)[asked])
        asked = asked[~np.isin(asked, compared)]
        compared = np.union1d(compared, asked)
        one, other = np.divmod(asked, count)
        similar = are_similar(sets, one, other, similarity)
        pairs.append(np.stack([one[similar], other[similar]]))
        label = connect(label, one[similar], other[similar])
        firsts, lasts = firsts[left > 1] + 1, lasts[left > 1]
        not_joined = _are_apart(label, members, firsts, lasts)
        firsts, lasts = firsts[not_joined], lasts[not_joined]
    return spanning(np.concatenate(pairs, axis=1))


def _are_apart(label: np.ndarray, members: np.ndarray, firsts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """Whether the texts of a bucket are not all joined yet."""
    if not len(firsts):
        return np.empty(0, bool)
    edges = np.stack([firsts, lasts], axis=1).ravel()
    found = np.append(label[members], 0)
    low, high = np.minimum.reduceat(found, edges)[::2], np.maximum.reduceat(found, edges)[::2]
    return low != high


def _may_be_similar(
    sizes: np.ndarray, bitmaps: np.ndarray, one: np.ndarray, other: np.ndarray, similarity: float
) -> np.ndarray:
    """False where sizes or bitmaps tell that two texts are not similar: a bit that only one of them has is an n-gram
    that only this one has."""
    total = sizes[one] + sizes[other]
    different = np.abs(sizes[one] - sizes[other])
    bits = np.zeros(len(one), np.int64)
    for bitmap in bitmaps:
        bits += np.bitwise_count(bitmap[one] ^ bitmap[other])
    common = (total - np.maximum(different, bits)) / 2  # at most
    return common / (total - common) >= similarity


def are_similar(sets: NgramSets, one: np.ndarray, other: np.ndarray, similarity: float) -> np.ndarray:
    """Whether the Jaccard similarity of each pair of texts reaches the threshold."""
    total = sets.sizes[one] + sets.sizes[other]
    common = [np.empty(0, np.int64)]
    for first, last in pairwise(_cut(np.arange(len(one) + 1), total).tolist()):
        common.append(_common(sets, one[first:last], other[first:last]))
    shared = np.concatenate(common)
    return shared / (total - shared) >= similarity


def _common(sets: NgramSets, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many n-grams the two texts of each pair have in common: what stands twice once both are mixed with the number
    of the pair and sorted."""
    both = sets.take(np.stack([one, other], axis=1).ravel())
    pair = both.numbers() // 2
    marked = minhash.mix(both.ngrams + minhash.mix(pair.astype(np.uint64)))
    order = np.argsort(marked)
    twice = marked[order[1:]] == marked[order[:-1]]
    return np.bincount(pair[order[1:][twice]], minlength=len(one))


def _divided(
    sets: NgramSets, starts: np.ndarray, members: np.ndarray, similarity: float
) -> tuple[np.ndarray, np.ndarray]:
    """The buckets, large ones divided: no two texts that are similar enough are parted."""
    pieces, lengths = [], []
    for first, last in pairwise(starts.tolist()):
        if last - first > LARGE:
            texts, sizes = _by_prefix(sets, members[first:last], similarity)
            pieces.append(texts)
            lengths.append(sizes)
        else:
            pieces.append(members[first:last])
            lengths.append(np.array([last - first]))
    return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]), np.concatenate(pieces)


def _by_prefix(sets: NgramSets, texts: np.ndarray, similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """Buckets of texts that share an n-gram of their prefixes, and how many texts each has."""
    own = sets.take(texts)
    _, gram, frequency = np.unique(own.ngrams, return_inverse=True, return_counts=True)
    text = own.numbers()
    order = np.lexsort((gram, frequency[gram], text))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(own.sizes) - own.sizes, own.sizes)
    longest = own.sizes - np.ceil(similarity * own.sizes - 1e-9).astype(np.int64) + 1
    prefix = order[rank < longest[text]]
    prefix = prefix[frequency[gram[prefix]] > 1]
    prefix = prefix[np.lexsort((text[prefix], gram[prefix]))]
    return texts[text[prefix]], np.diff(starts_of(gram[prefix]))
