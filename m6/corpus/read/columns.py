"""Rows of Parquet and Arrow files, some at a time.

In: a path or URL, and the names of columns. Out: the rows as dicts, a few at a time however large the file is, with a
reason in the place of a row that cannot be said in Python. Arrow files are those of the IPC format, as streams
(Hugging Face `datasets`) or with a footer (Feather).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from m6.corpus.read.files import open_arrow

BYTES_PER_BATCH = 16 * 2**20
ROWS_PER_BATCH = 256
READ_AHEAD = 2**20  # bytes of a column; by default its whole row group is read at once


def column_names(path: str) -> list[str]:
    """The names of the columns. Raises one of `READ_ERRORS`."""
    with open_arrow(path) as file:
        schema = _batches(file)[0] if _is_arrow(file, path) else pq.ParquetFile(file).schema_arrow
        return list(schema.names)


def row_groups(path: str) -> list[tuple[int, int]]:
    """Rows and unpacked bytes of each row group of a Parquet file; of an Arrow file, which has to be read from its
    beginning, none. Raises one of `READ_ERRORS`."""
    with open_arrow(path) as file:
        if _is_arrow(file, path):
            _batches(file)
            return []
        metadata = pq.ParquetFile(file).metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        return [(group.num_rows, group.total_byte_size) for group in groups]


def rows(path: str, start: int, stop: int, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The rows of the row groups `start` to `stop` - 1 (of an Arrow file, all) with their numbers in the file. Raises
    one of `READ_ERRORS` where the file is damaged."""
    with open_arrow(path) as file:
        if _is_arrow(file, path):
            number = 0
            batches: Iterator[pa.RecordBatch] = (batch.select(list(columns)) for batch in _batches(file)[1])
        else:
            number, batches = _parquet(
                pq.ParquetFile(file, buffer_size=READ_AHEAD, pre_buffer=False), start, stop, columns
            )
        for batch in batches:
            for row in _values(batch):
                yield number, row
                number += 1


def _is_arrow(file: pa.NativeFile, path: str) -> bool:
    beginning = file.read(6)
    file.seek(0)
    return beginning == b"ARROW1" or (path.partition("?")[0].endswith(".arrow") and beginning[:4] != b"PAR1")


def _batches(file: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema and the batches of an Arrow file."""
    has_footer = file.read(6) == b"ARROW1"
    file.seek(0)
    if not has_footer:
        stream = pa.ipc.open_stream(file)
        return stream.schema, iter(stream)
    reader = pa.ipc.open_file(file)
    return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def _parquet(
    file: pq.ParquetFile, start: int, stop: int, columns: Sequence[str]
) -> tuple[int, Iterator[pa.RecordBatch]]:
    """The number of the first row, and batches that are smaller the larger the rows are."""
    before = sum(file.metadata.row_group(number).num_rows for number in range(start))
    groups = [file.metadata.row_group(number) for number in range(start, stop)]
    row_size = sum(group.total_byte_size for group in groups) // max(1, sum(group.num_rows for group in groups))
    count = max(1, min(ROWS_PER_BATCH, BYTES_PER_BATCH // max(1, row_size)))
    return before, file.iter_batches(count, row_groups=list(range(start, stop)), columns=list(columns))


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch, in slices whose values fit into memory a second time."""
    count = max(1, min(ROWS_PER_BATCH, BYTES_PER_BATCH * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, count):
        piece = batch.slice(start, count)
        try:
            yield from piece.to_pylist()
        except (ValueError, OverflowError):  # one value, such as a text that is no UTF-8
            for number in range(piece.num_rows):
                yield _row(piece.slice(number, 1))


def _row(piece: pa.RecordBatch) -> dict[str, Any] | str:
    try:
        row: dict[str, Any] = piece.to_pylist()[0]
        return row
    except UnicodeDecodeError:
        return "wrong encoding"
    except (ValueError, OverflowError):
        return "unreadable value"
