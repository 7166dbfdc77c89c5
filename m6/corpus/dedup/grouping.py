"""Grouping: which Documents share a key, among any number of them, in constant memory.

    keys of some parts -> entries (key, value, position), sorted by key, in one file      (a worker a file)
    one range of keys out of all these files -> what `Search.found` makes of the groups   (a worker a range)

Keys are hashes, so ranges of equal width hold about equally many. Both steps work on about `ENTRIES` entries at a time,
on one machine or on a cluster; only what was found comes back. Files appear whole, and those that are there are not
made again, so a search that was killed goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus.config import EngineConfig
from m6.corpus.engine import each

FOLDER = "duplicates"  # beside the parts, for files on the way
ENTRIES = 1 << 20  # of 24 bytes


class Search(NamedTuple):
    """What is grouped, and what becomes of the groups."""

    name: str
    columns: tuple[str, ...]  # of `KEYS`, the first of which holds the keys or lists of keys
    entries: Callable[[pa.RecordBatch], tuple[np.ndarray, np.ndarray, np.ndarray]]
    """From keys to (key, value, row in the batch), integers."""
    found: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    """From all entries of keys that stand more than once, ordered by key, value and position (uint64 each), to what was
    found: an array of uint64 of any height, (height, n)."""


class Stretch(NamedTuple):
    """Some row groups of the keys of a part."""

    part: int
    first: int
    last: int  # exclusive
    row: int  # the first one


def keys_file(documents: Path) -> Path:
    """Beside the Documents of a part, their keys."""
    return documents.with_suffix(".keys.parquet")


def search(what: Search, parts: Sequence[Path], engine: EngineConfig, without: np.ndarray | None = None) -> np.ndarray:
    """What is found among all parts, given by the files of their Documents: (height, n) uint64, the same however the
    rows are cut into parts. Positions in `without` (sorted) count as if they were not there.

    The position of a row is the number of its part in `parts`, times 2^32, plus its number in the part.
    """
    folder = parts[0].parent / FOLDER / what.name
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "without.npy", np.empty(0, np.uint64) if without is None else without)
    tasks, count = _plan([keys_file(path) for path in parts], what.columns[0])
    num_ranges = -(-count // ENTRIES)
    sorted_files = [folder / f"sorted-{number:06d}.npy" for number in range(len(tasks))]
    found_files = [folder / f"found-{number:06d}.npy" for number in range(num_ranges)]

    def sort(number: int) -> None:
        hidden = np.load(folder / "without.npy", mmap_mode="r")
        pieces = [_entries(what, parts[stretch.part], stretch, hidden) for stretch in tasks[number]]
        entries = np.concatenate(pieces, axis=1)
        save(sorted_files[number], entries[:, np.argsort(entries[0])])

    def group(number: int) -> None:
        edges = [(2**64 * end // num_ranges) for end in (number, number + 1)]
        entries = np.concatenate([_between(file, *edges) for file in sorted_files], axis=1)
        save(found_files[number], what.found(*_repeated(entries)))

    work(sort, sorted_files, engine)
    work(group, found_files, engine)
    nothing = what.found(*np.empty((3, 0), np.uint64))
    return np.concatenate([nothing, *(np.load(file) for file in found_files)], axis=1)


def work(function: Callable[[int], None], files: Sequence[Path], engine: EngineConfig) -> None:
    """Call `function` with the number of each file that is not there yet and that it makes. A single one is made here:
    to start a worker takes longer."""
    missing = [number for number, file in enumerate(files) if not file.exists()]
    if len(missing) == 1:
        function(missing[0])
    else:
        for _ in each(function, missing, engine):
            pass


def save(path: Path, array: np.ndarray) -> None:
    """Write an array, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        np.save(file, array)
    os.replace(temporary, path)


def _plan(files: Sequence[Path], column: str) -> tuple[list[list[Stretch]], int]:
    """The row groups of all files in order, in tasks of about `ENTRIES` keys; and how many keys there are."""
    tasks: list[list[Stretch]] = []
    total, room = 0, 0
    for part, path in enumerate(files):
        about = pq.read_metadata(path)
        row = 0
        for number in range(about.num_row_groups):
            group = about.row_group(number)
            count = next(
                leaf.num_values
                for leaf in map(group.column, range(group.num_columns))
                if leaf.path_in_schema.partition(".")[0] == column
            )
            if not tasks or count > room:
                tasks.append([])
                room = ENTRIES
            if tasks[-1] and tasks[-1][-1].part == part:
                tasks[-1][-1] = tasks[-1][-1]._replace(last=number + 1)
            else:
                tasks[-1].append(Stretch(part, number, number + 1, row))
            room -= count
            total += count
            row += group.num_rows
    return tasks, total


def _entries(what: Search, documents: Path, stretch: Stretch, without: np.ndarray) -> np.ndarray:
    """(key, value, position) of the rows of a stretch: (3, n) uint64."""
    row = stretch.row | stretch.part << 32
    found = [np.empty((3, 0), np.uint64)]
    with pq.ParquetFile(keys_file(documents)) as file:
        groups = list(range(stretch.first, stretch.last))
        for batch in file.iter_batches(1 << 14, row_groups=groups, columns=list(what.columns)):
            keys, values, rows = what.entries(batch)
            found.append(np.stack([column.astype(np.uint64) for column in (keys, values, rows + row)]))
            row += len(batch)
    entries = np.concatenate(found, axis=1)
    if not len(without):
        return entries
    place = np.searchsorted(without, entries[2])
    return entries[:, without[np.minimum(place, len(without) - 1)] != entries[2]]


def _between(file: Path, low: int, high: int) -> np.ndarray:
    entries = np.load(file, mmap_mode="r")
    first = np.searchsorted(entries[0], np.uint64(low))
    last = entries.shape[1] if high == 2**64 else np.searchsorted(entries[0], np.uint64(high))
    return np.array(entries[:, first:last])


def _repeated(entries: np.ndarray) -> np.ndarray:
    """The entries whose key stands more than once, ordered by key, value and position."""
    entries = entries[:, np.argsort(entries[0])]
    same = entries[0, 1:] == entries[0, :-1]
    member = np.zeros(entries.shape[1], bool)
    member[1:] |= same
    member[:-1] |= same
    entries = entries[:, member]
    return entries[:, np.lexsort(entries[::-1])]


def starts_of(*columns: np.ndarray) -> np.ndarray:
    """Where a run of entries that are equal in all columns begins; the length of the columns comes last."""
    changes = np.zeros(max(len(columns[0]) - 1, 0), bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    first = [0] if len(columns[0]) else []
    return np.concatenate([first, np.flatnonzero(changes) + 1, [len(columns[0])]]).astype(np.int64)


def first_and_others(starts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The first position of each run beside each other one of the run: (2, n)."""
    sizes = np.diff(starts)
    firsts = np.repeat(positions[starts[:-1]], sizes)
    return np.stack([firsts, positions])[:, np.arange(len(positions)) != np.repeat(starts[:-1], sizes)]
