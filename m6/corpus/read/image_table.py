"""Pictures in a headless table of ids and base64, a row each, as MUGE has them beside its captions.

In: a TSV or CSV file, `1006938\\t/9j/4AAQSkZJRg...`. Out: the bytes of the picture with an id. The file is read once to
note where each row begins: 16 bytes of memory a row, whatever the size of the pictures. Of two rows with the same id
the first counts.
"""

from __future__ import annotations

import functools
import hashlib
from typing import BinaryIO

import numpy as np

from m6.corpus.read.encodings import decode_base64
from m6.corpus.read.files import READ_ERRORS, open_file

LONGEST_ROW = 64 * 2**20  # bytes
LONGEST_ID = 1_024  # bytes


class ImageTable:
    """The pictures of a table by id."""

    def __init__(self, path: str) -> None:
        self._delimiter = b"," if path.lower().endswith(".csv") else b"\t"
        self._file = open_file(path)
        self._hashes, self._offsets = _index(self._file, self._delimiter)

    def read(self, name: str) -> bytes | str:
        """The bytes of the picture with this id, or the reason why there are none."""
        wanted = name.strip().encode(errors="replace")
        found = np.searchsorted(self._hashes, _hash(wanted))
        while found < len(self._hashes) and self._hashes[found] == _hash(wanted):
            try:
                self._file.seek(int(self._offsets[found]))
                row = self._file.readline(LONGEST_ROW)
            except READ_ERRORS:
                return "unreadable image table"
            identity, _, rest = row.partition(self._delimiter)
            if _clean(identity) == wanted:
                if len(row) == LONGEST_ROW:
                    return "large image file"
                data = decode_base64(rest.split(self._delimiter)[0].strip().strip(b'"'))
                return "image is not base64" if data is None else data
            found += 1  # another id with the same hash
        return "missing image"


@functools.lru_cache(maxsize=4)
def image_table(path: str) -> ImageTable:
    """The table of a file, indexed once in this process. OSError if it cannot be read."""
    return ImageTable(path)


def _index(file: BinaryIO, delimiter: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Sorted hashes of the ids (uint64), and the byte at which the row of each begins (int64)."""
    hashes: list[np.ndarray] = []
    offsets: list[np.ndarray] = []
    rows: list[tuple[np.uint64, int]] = []
    offset, begins = 0, True
    while piece := file.readline(2**20):
        if begins and delimiter in piece[:LONGEST_ID]:
            rows.append((_hash(_clean(piece[:LONGEST_ID].partition(delimiter)[0])), offset))
        if len(rows) == 100_000:  # as Python objects they take ten times the memory
            _pack(rows, hashes, offsets)
        begins = piece.endswith(b"\n")
        offset += len(piece)
    _pack(rows, hashes, offsets)
    all_hashes, all_offsets = np.concatenate(hashes), np.concatenate(offsets)
    order = np.argsort(all_hashes, kind="stable")
    return all_hashes[order], all_offsets[order]


def _pack(rows: list[tuple[np.uint64, int]], hashes: list[np.ndarray], offsets: list[np.ndarray]) -> None:
    hashes.append(np.fromiter((row[0] for row in rows), np.uint64, len(rows)))
    offsets.append(np.fromiter((row[1] for row in rows), np.int64, len(rows)))
    rows.clear()


def _hash(identity: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little"))


def _clean(identity: bytes) -> bytes:
    return identity.removeprefix(b"\xef\xbb\xbf").strip().strip(b'"')
