"""Shards: the on-disk contract between the corpus and all that reads it.

A folder of Parquet files with a `manifest.json` that lists them with their rows, bytes and SHA-256. The manifest is
written last, so a folder that has one is whole. Reading is by index, in the order of writing: `Shards(folder)[17]`.

In: Arrow tables of one schema. Out: rows as dicts, or some columns of all rows as one table.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.config import UserError
from m6.run import write_atomic

MANIFEST = "manifest.json"
FORMAT = 1
OPEN_BYTES = 512 * 2**20  # of decoded shards that a reader keeps: reading at random needs most of them at hand


class ShardFile(NamedTuple):
    """One file of a folder of shards, as the manifest lists it."""

    file: str
    rows: int
    bytes: int
    sha256: str


def write_table(path: Path, table: pa.Table) -> None:
    """One Parquet file, whole or not at all; the same table gives the same bytes."""
    with open_table(path, table.schema) as writer:
        writer.write_table(table, row_group_size=max(table.num_rows, 1))


@contextlib.contextmanager
def open_table(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file that appears under its name when the context ends well, and not at all otherwise.

    The temporary name holds the process id: a worker that outlives a killed run may still be writing the same file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd", store_schema=True) as writer:
                yield writer
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_shards(
    folder: Path,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    rows_per_shard: int,
    about: dict[str, Any] | None = None,
) -> None:
    """Write tables, in order, as shards of `rows_per_shard` rows (the last one may be shorter), then the manifest.

    What an earlier, killed call left in the folder is overwritten. `about` is kept in the manifest for the reader.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    written = [
        write_shard(folder, number, table) for number, table in enumerate(_regroup(tables, schema, rows_per_shard))
    ]
    write_manifest(folder, written, schema, about)


def write_shard(folder: Path, number: int, table: pa.Table) -> ShardFile:
    """One shard, and its line for the manifest; shards may be written in any order, by any process."""
    path = folder / f"shard-{number:05d}.parquet"
    write_table(path, table.combine_chunks())
    return ShardFile(path.name, table.num_rows, path.stat().st_size, _sha256(path))


def write_manifest(
    folder: Path, shards: list[ShardFile], schema: pa.Schema, about: dict[str, Any] | None = None
) -> None:
    """List the shards, which makes the folder whole; shards that are not listed are removed."""
    for stale in set(folder.glob("shard-*.parquet")) - {folder / shard.file for shard in shards}:
        stale.unlink()
    content = {
        "format": FORMAT,
        "rows": sum(shard.rows for shard in shards),
        "columns": schema.names,
        "about": about or {},
        "shards": [shard._asdict() for shard in shards],
    }
    write_atomic(folder / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _regroup(tables: Iterable[pa.Table], schema: pa.Schema, rows_per_shard: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows_per_shard` rows; one empty table if there is no row at all."""
    waiting = schema.empty_table()
    some = False
    for table in tables:
        waiting = pa.concat_tables([waiting, table.cast(schema)])
        while waiting.num_rows >= rows_per_shard:
            some = True
            yield waiting.slice(0, rows_per_shard).combine_chunks()
            waiting = waiting.slice(rows_per_shard)
    if waiting.num_rows or not some:
        yield waiting.combine_chunks()


class Shards:
    """Rows of a folder of shards by index. Opening checks that every file is there and has its size (`verify` reads
    them too) and raises UserError naming the first one that does not fit.

    It can be sent to another process; each has its own few open shards.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        self.files = [ShardFile(**shard) for shard in self.manifest["shards"]]
        self.about: dict[str, Any] = self.manifest["about"]
        self._ends = list(itertools.accumulate(shard.rows for shard in self.files))
        self._open: dict[int, pa.Table] = {}
        for shard in self.files:
            path = self.folder / shard.file
            if not path.is_file():
                raise UserError(f"{path}: this shard is missing; delete {self.folder} and make it again")
            if path.stat().st_size != shard.bytes:
                raise UserError(
                    f"{path}: {path.stat().st_size} bytes, the manifest says {shard.bytes};"
                    f" delete {self.folder} and make it again"
                )

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Row `index` (from 0; negative from the end) as a dict of Python values. IndexError beyond the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        number = bisect.bisect_right(self._ends, index)
        start = self._ends[number] - self.files[number].rows
        row: dict[str, Any] = self._table(number).slice(index - start, 1).to_pylist()[0]
        return row

    def rows(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Many rows, in that order: each shard is looked into once, and a row costs a fraction of what it does alone.
        IndexError beyond the end."""
        places: dict[int, list[int]] = defaultdict(list)
        for place, index in enumerate(indices):
            if not 0 <= index < len(self):
                raise IndexError(f"row {index} of {len(self)}")
            places[bisect.bisect_right(self._ends, index)].append(place)
        found: list[dict[str, Any]] = [{}] * len(indices)
        for number, those in places.items():
            start = self._ends[number] - self.files[number].rows
            taken = self._table(number).take(np.array([indices[place] - start for place in those])).to_pylist()
            for place, row in zip(those, taken, strict=True):
                found[place] = row
        return found

    def columns(self, names: list[str]) -> pa.Table:
        """Some columns of all rows, in order; the others are not read. A part of a column is named by its path in the
        Parquet file: `images.list.element.width`."""
        unknown = {name.split(".")[0] for name in names} - set(self.manifest["columns"])
        if unknown:
            raise UserError(f"{self.folder}: no column {sorted(unknown)[0]!r}, there are {self.manifest['columns']}")
        return pa.concat_tables([self._read(number, names) for number in range(len(self.files))])

    def tables(self) -> Iterator[pa.Table]:
        """The shards as tables, one after the other."""
        for number in range(len(self.files)):
            yield self._read(number)

    def verify(self) -> None:
        """Read every byte: checksums and numbers of rows. Raises UserError naming the shard that does not fit."""
        for shard in self.files:
            path = self.folder / shard.file
            if _sha256(path) != shard.sha256:
                raise UserError(
                    f"{path}: damaged, its SHA-256 is not that of the manifest; delete it and make it again"
                )
            if pq.read_metadata(path).num_rows != shard.rows:
                raise UserError(f"{path}: the manifest says {shard.rows} rows; delete {self.folder} and make it again")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def _table(self, number: int) -> pa.Table:
        if number not in self._open:
            table = self._read(number)
            while self._open and table.nbytes + sum(other.nbytes for other in self._open.values()) > OPEN_BYTES:
                del self._open[next(iter(self._open))]  # the one opened first
            self._open[number] = table
        return self._open[number]

    def _read(self, number: int, names: list[str] | None = None) -> pa.Table:
        path = self.folder / self.files[number].file
        try:
            with pq.ParquetFile(path) as file:
                return file.read(columns=names)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path}: this shard cannot be read ({reason}); delete {self.folder} and make it again"
            ) from None


def is_whole(folder: Path) -> bool:
    """Whether the writing of shards in this folder came to its end."""
    return (folder / MANIFEST).is_file()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no {MANIFEST}, so no shards or unfinished ones; run the stage that makes them"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: damaged, {error}; delete {folder} and make it again") from None
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: format {content.get('format')!r}, this version reads format {FORMAT}; make it again")
    return content


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
