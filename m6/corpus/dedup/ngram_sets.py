"""Sets of n-grams of texts: read from the parts once, kept in files, taken from there by those who compare.

A set is the sorted hashes of the distinct n-grams of a text (`minhash.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus.dedup import minhash
from m6.corpus.dedup.grouping import save


class NgramSets:
    """The sets of some texts, one after the other."""

    def __init__(self, ngrams: np.ndarray, sizes: np.ndarray) -> None:
        self.ngrams = ngrams  # uint64
        self.sizes = sizes  # of each set
        self._starts = np.cumsum(sizes) - sizes

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], ngram: int) -> NgramSets:
        """Those of texts, in order; each has at least one n-gram."""
        sets, sizes = [], []
        for some in texts:
            for block in minhash.blocks(some):
                hashes, counts = minhash.hash_ngrams(*minhash.letter_codes(block), ngram)
                starts = np.cumsum(counts) - counts
                for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
                    hashes[start : start + count].sort()
                distinct = np.ones(len(hashes), bool)
                distinct[1:] = hashes[1:] != hashes[:-1]
                distinct[starts] = True
                sets.append(hashes[distinct])
                sizes.append(np.add.reduceat(distinct, starts, dtype=np.int64))
        return cls(np.concatenate(sets), np.concatenate(sizes))

    def save(self, path: Path) -> None:
        """Write them to one file."""
        save(path, np.concatenate([[len(self.sizes)], self.sizes, self.ngrams]).astype(np.uint64))

    @classmethod
    def load(cls, path: Path) -> NgramSets:
        """Those that were saved; n-grams are read from the file when they are asked for."""
        content = np.load(path, mmap_mode="r")
        end = 1 + int(content[0])
        return cls(content[end:], np.array(content[1:end], np.int64))

    def take(self, texts: np.ndarray) -> NgramSets:
        """The sets of these texts, by number."""
        sizes = self.sizes[texts]
        offsets = np.repeat(self._starts[texts] - np.cumsum(sizes) + sizes, sizes)
        return NgramSets(np.asarray(self.ngrams[np.arange(len(offsets)) + offsets]), sizes)

    def bitmaps(self) -> np.ndarray:
        """Of each set 256 bits, (4, texts) uint64: those that the upper byte of one of its hashes names."""
        if not len(self.sizes):
            return np.empty((4, 0), np.uint64)
        word, bit = self.ngrams >> np.uint64(62), np.uint64(1) << (self.ngrams >> np.uint64(56) & np.uint64(63))
        maps = [np.bitwise_or.reduceat(np.where(word == number, bit, 0), self._starts) for number in range(4)]
        return np.stack(maps).astype(np.uint64, copy=False)

    def numbers(self) -> np.ndarray:
        """Beside each n-gram, the number of its text."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


def join(pieces: Sequence[NgramSets]) -> NgramSets:
    """The sets of several, in order."""
    return NgramSets(
        np.concatenate([piece.ngrams for piece in pieces]), np.concatenate([piece.sizes for piece in pieces])
    )


def read_texts(parts: Sequence[Path], positions: np.ndarray) -> Iterator[list[str]]:
    """The texts at these positions (sorted), those of a row group at a time; other row groups are not read."""
    part = positions >> np.uint64(32)
    for number in np.unique(part).tolist():
        rows = (positions[part == number] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        with pq.ParquetFile(parts[number]) as file:
            start = 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start
                if len(wanted):
                    yield file.read_row_group(group, ["text"])["text"].take(pa.array(wanted)).to_pylist()
                start = stop
