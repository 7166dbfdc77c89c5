"""Ledger: what was fetched from the web, and what failed, so that nothing is fetched twice.

A folder of Parquet files with the columns of `SCHEMA`. What comes in waits in memory until it makes a file of some
MiB; a file is whole or not there, so a killed process loses what was waiting and no more. Of several rows for one URL a
success counts, else the last one.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from m6.config import UserError
from m6.shards import open_table

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("status", pa.int16()),  # of HTTP; 0 where no answer came
        ("reason", pa.string()),  # why there are no bytes; empty where there are
        ("attempts", pa.int16()),
        ("sha256", pa.string()),  # of the bytes
        ("bytes", pa.binary()),
    ]
)
_FILE_BYTES = 32 * 2**20
_FILE_ROWS = 256
_GROUP_ROWS = 16  # what is read from the disk to get one picture


class Outcome(NamedTuple):
    """How the fetching of a URL ended."""

    status: int
    reason: str
    attempts: int
    bytes: bytes = b""


class _Place(NamedTuple):
    file: Path
    row: int
    status: int
    reason: str
    attempts: int


class Ledger:
    """The ledger in a folder, which is made when there is something to write. It may be used by several threads."""

    def __init__(self, folder: Path) -> None:
        """UserError if a file of the ledger is damaged."""
        self.folder = folder
        self._written: dict[str, _Place] = {}
        self._waiting: dict[str, Outcome] = {}
        self._waiting_bytes = 0
        self._group: tuple[Path, int, pa.ChunkedArray] | None = None  # the one read last
        self._lock = threading.Lock()
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        for file in sorted(folder.glob("*.parquet")):
            self._enter(file, _read_index(file))

    def reason(self, url: str) -> str | None:
        """Why a URL has failed, "" if its bytes are here, None if it is not known."""
        with self._lock:
            found = self._waiting.get(url) or self._written.get(url)
        return found.reason if found else None

    def get(self, url: str) -> Outcome:
        """How it ended, with the bytes. KeyError for a URL that is not known."""
        with self._lock:
            if url in self._waiting:
                return self._waiting[url]
            place = self._written[url]
            data = b"" if place.reason else self._bytes(place)
        return Outcome(place.status, place.reason, place.attempts, data)

    def add(self, url: str, outcome: Outcome) -> None:
        """Enter an outcome; attempts of earlier calls are added to its own."""
        with self._lock:
            before = self._waiting.get(url) or self._written.get(url)
            if before and not before.reason:
                return
            self._waiting[url] = outcome._replace(attempts=outcome.attempts + (before.attempts if before else 0))
            self._waiting_bytes += len(outcome.bytes)
            if self._waiting_bytes >= _FILE_BYTES or len(self._waiting) >= _FILE_ROWS:
                self._flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = [
            {
                "url": url,
                "sha256": hashlib.sha256(outcome.bytes).hexdigest() if outcome.bytes else "",
                **outcome._asdict(),
            }
            for url, outcome in self._waiting.items()
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob("*.parquet")))
        # A worker that outlives a killed call may write here, too: its files have other names.
        file = self.folder / f"ledger-{number:04d}-{os.getpid()}.parquet"
        table = pa.Table.from_pylist(rows, SCHEMA)
        with open_table(file, SCHEMA) as writer:
            writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._enter(file, table)
        self._waiting, self._waiting_bytes = {}, 0

    def _enter(self, file: Path, table: pa.Table) -> None:
        columns = (table[name].to_pylist() for name in ("url", "status", "reason", "attempts"))
        for row, (url, status, reason, attempts) in enumerate(zip(*columns, strict=True)):
            before = self._written.get(url)
            if before is None or before.reason:
                self._written[url] = _Place(file, row, status, reason, attempts)

    def _bytes(self, place: _Place) -> bytes:
        number, row = divmod(place.row, _GROUP_ROWS)
        if self._group is None or self._group[:2] != (place.file, number):
            with pq.ParquetFile(place.file) as file:
                self._group = place.file, number, file.read_row_group(number, columns=["bytes"])["bytes"]
        data: bytes = self._group[2][row].as_py()
        return data


def _read_index(file: Path) -> pa.Table:
    try:
        return pq.read_table(file, columns=["url", "status", "reason", "attempts"])
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: damaged ({reason}); delete it, and its pictures are fetched again") from None
