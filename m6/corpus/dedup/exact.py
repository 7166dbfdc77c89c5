"""Searches whose answer lies in the keys alone: equal Documents, equal texts, near-equal pictures, one text under many.

Each is a `Search` (`grouping.py`): how keys become entries, and what is found in a group.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from m6.corpus.dedup.connected import spanning
from m6.corpus.dedup.grouping import Search, first_and_others, starts_of

_PAIRS_AT_ONCE = 1 << 22
NOWHERE = np.uint64(2**64 - 1)
"""Instead of the position of a Document that is kept, where none is."""


def values(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """What is not null in a column of integers, and in which rows."""
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return column.drop_null().to_numpy(zero_copy_only=False).astype(np.uint64, copy=False), rows


def items(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The items of all lists of a column, and in which rows they stand."""
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False), np.repeat(np.arange(len(column)), lengths)


def same_content() -> Search:
    """Documents that say and show the same: pairs (first position, other position)."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        halves = np.frombuffer(b"".join(batch["content"].to_pylist()), np.uint64).reshape(-1, 2)
        return halves[:, 0], halves[:, 1], np.arange(len(batch))

    return Search("content", ("content",), entries, _equal)


def same_letters() -> Search:
    """Texts of the same letters: pairs (first position, other position)."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, rows = values(batch["letters"])
        return keys, values(batch["ngrams"])[0], rows

    return Search("letters", ("letters", "ngrams"), entries, _equal)


def _equal(keys: np.ndarray, values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return first_and_others(starts_of(keys, values), positions)


def near_pictures(distance: int) -> Search:
    """Pictures whose difference hashes differ in at most `distance` bits: pairs of positions that span them."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, rows = items(batch["blocks"])
        pictures = batch["picture"].fill_null(0).to_numpy(zero_copy_only=False)
        return keys, pictures[rows], rows

    def found(keys: np.ndarray, hashes: np.ndarray, positions: np.ndarray) -> np.ndarray:
        same = starts_of(keys, hashes)
        pairs = [first_and_others(same, positions)]
        firsts = same[:-1]  # of each key and hash, one is compared
        groups = starts_of(keys[firsts])
        for first, last in pairwise(groups.tolist()):
            if last - first > 1:
                members = firsts[first:last]
                pairs.append(_within(hashes[members], positions[members], distance))
        return np.concatenate(pairs, axis=1)

    return Search("pictures", ("blocks", "picture"), entries, found)


def _within(hashes: np.ndarray, positions: np.ndarray, distance: int) -> np.ndarray:
    """Pairs that span what is joined by at most `distance` bits. All are compared, some rows at a time."""
    found = np.empty((2, 0), np.uint64)
    step = max(1, _PAIRS_AT_ONCE // len(hashes))
    for start in range(0, len(hashes), step):
        bits = np.bitwise_count(hashes[start : start + step, None] ^ hashes[None, :])
        one, other = np.nonzero(bits <= distance)
        later = one + start < other
        pairs = np.stack([positions[one[later] + start], positions[other[later]]])
        found = spanning(np.concatenate([found, pairs], axis=1))
    return found


def captions_of_many() -> Search:
    """Documents whose text stands under more pictures than its source allows: pairs (`NOWHERE`, position)."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, rows = values(batch["caption"])
        return keys, values(batch["most_pictures"])[0], rows

    def found(keys: np.ndarray, most: np.ndarray, positions: np.ndarray) -> np.ndarray:
        starts = starts_of(keys, most)
        many = np.repeat(np.diff(starts) > most[starts[:-1]], np.diff(starts))
        return np.stack([np.full(many.sum(), NOWHERE), positions[many]])

    return Search("captions", ("caption", "most_pictures"), entries, found)


def many_paragraphs(most: int) -> Search:
    """Paragraphs that stand in more than `most` Documents: pairs (hash, position of the first one)."""

    def entries(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, rows = items(batch["paragraphs"])
        return keys, np.zeros_like(keys), rows

    def found(keys: np.ndarray, _: np.ndarray, positions: np.ndarray) -> np.ndarray:
        starts = starts_of(keys)
        many = np.diff(starts) > most
        return np.stack([keys[starts[:-1]][many], positions[starts[:-1]][many]])

    return Search("paragraphs", ("paragraphs",), entries, found)
