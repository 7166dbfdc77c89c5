"""Tables as text: comma- or tab-separated values, a record a row, its fields as `m6/corpus/read/records.py` has them.

In: .csv, .tsv and .tab files, perhaps compressed, with a header or with `columns` given. Out: Documents. A comma
separates fields that may be in quotes, over several lines, so that such a file cannot be entered in the middle and is
one part; a tab separates fields without quotes, and such a file is cut into parts of some megabytes.

MUGE's captions stand in JSON lines, {"text": ..., "image_ids": [...]}, beside a headless table of ids and base64: that
is kind "jsonl" with `image_table="train_imgs.tsv", image_field="image_ids"`. OFA's tables have the picture in the row:
kind "csv" with `columns=("id", "image_id", "text", "objects", "image")`.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from typing import TextIO

from m6.config import UserError
from m6.corpus.config import CsvConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read.files import READ_ERRORS, compression, find, size, why_unreadable
from m6.corpus.read.lines import Beginning, begin, lines_of, open_text, parts_of_file
from m6.corpus.read.picture_values import finder
from m6.corpus.read.records import document, missing_column, plain, require_columns, require_usable
from m6.corpus.sources import Part

BYTES_PER_PART = 32 * 2**20
LONGEST_ROW = 64 * 2**20  # characters, or bytes where there are no quotes; columns of base64 are long
ENDINGS = (".csv", ".tsv", ".tab")

_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are no text

Row = list[str] | str
"""The fields of a row, or the reason why there are none."""


def parts(name: str, config: CsvConfig) -> list[Part]:
    """Ranges of bytes of tab-separated files, whole files of others. UserError if no file is given or one is missing,
    if none can be read, and if the first that can lacks a column."""
    require_usable(name, config)
    if len(config.delimiter) != 1 and config.delimiter != "auto":
        raise UserError(f"corpus.sources.{name}.delimiter: {config.delimiter!r} has to be one character, or auto")
    if len(config.quote) > 1 and config.quote != "auto":
        raise UserError(f"corpus.sources.{name}.quote: {config.quote!r} has to be one character, none, or auto")
    paths = find(config.paths, ENDINGS, f"corpus.sources.{name}.paths")
    _require_columns(name, paths, config)
    return [part for path in paths for part in parts_of_file(name, path, _bytes_per_part(path, config))]


def read(part: Part, config: CsvConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of the rows that begin in a range of bytes; empty lines are nothing."""
    try:
        beginning = begin(part.of, config.encoding)
        columns = _columns(part.of, beginning, config)
        if reason := _unusable(beginning, columns, part.of, config):
            if part.start == 0:
                yield reason
            return
        pictures = finder(part.of, config)
        count = 0
        for row, where in _rows(part, beginning, config):
            count += 1
            where = f"{part.of}, {where}"
            if isinstance(row, str):
                yield Drop(row, where)
            elif len(row) != len(columns):
                yield Drop("wrong number of fields", where, f"{len(row)}, not {len(columns)}: {_sample(row)}")
            else:
                yield document(dict(zip(columns, row, strict=True)), where, part, config, pictures)
        if (
            not count
            and part.start == 0
            and next(_rows(part._replace(stop=size(part.of)), beginning, config), None) is None
        ):
            yield Drop("no records", part.of)
    except EOFError as error:
        yield Drop("truncated file", part.of, str(error))
    except READ_ERRORS as error:
        yield Drop(why_unreadable(error), part.of, str(error))


def _require_columns(name: str, paths: list[str], config: CsvConfig) -> None:
    """UserError if the first file that can be read lacks a column, or if none can be read."""
    reason = ""
    for path in paths:
        try:
            beginning = begin(path, config.encoding)
        except READ_ERRORS as error:
            reason = reason or f"{path}: cannot be read: {error}"
            continue
        if beginning.encoding and beginning.data:
            require_columns(_columns(path, beginning, config), path, name, config)
        return
    raise UserError(f"corpus.sources.{name}.paths: {reason}")


def _bytes_per_part(path: str, config: CsvConfig) -> int:
    return BYTES_PER_PART if _form(path, config)[1] == "" else max(1, size(path))


def _form(path: str, config: CsvConfig) -> tuple[str, str]:
    """Delimiter and quote, which is "" for none."""
    is_tabbed = path.lower().partition("?")[0].removesuffix(compression(path)).endswith((".tsv", ".tab"))
    delimiter = config.delimiter if config.delimiter != "auto" else "\t" if is_tabbed else ","
    return delimiter, config.quote if config.quote != "auto" else "" if delimiter == "\t" else '"'


def _columns(path: str, beginning: Beginning, config: CsvConfig) -> list[str]:
    """The names of the columns: those of the config, or the first row."""
    if config.columns:
        return list(config.columns)
    delimiter, quote = _form(path, config)
    lines = io.StringIO(beginning.text, newline="")
    row = next(_quoted(lines, delimiter, quote), None) if quote else (lines.readline().split(delimiter), "")
    return [] if row is None or isinstance(row[0], str) else [name.strip() for name in row[0]]


def _unusable(beginning: Beginning, columns: list[str], path: str, config: CsvConfig) -> Drop | None:
    """Why nothing of the file can be read."""
    if not beginning.data:
        return Drop("no records", path)
    if beginning.encoding is None:
        return Drop("wrong encoding", path, beginning.data[:80].decode(errors="replace"))
    missing = missing_column(columns, config)
    return (
        Drop("missing column", f"{path}, column {missing[1]}", "there are " + ", ".join(columns)) if missing else None
    )


def _rows(part: Part, beginning: Beginning, config: CsvConfig) -> Iterator[tuple[Row, str]]:
    """The rows of a part but for the header, and where they stand."""
    delimiter, quote = _form(part.of, config)
    if quote:
        errors = "replace" if beginning.is_wide else "surrogateescape"
        with open_text(part.of, beginning, errors, newline="") as file:
            rows = _quoted(file, delimiter, quote)
            yield from itertools.islice(rows, 0 if config.columns else 1, None)
        return
    encoding = "utf-8" if beginning.is_wide else beginning.encoding or "utf-8"
    is_header = not config.columns and part.start == 0
    for line in lines_of(part, beginning, LONGEST_ROW):
        if is_header:
            is_header = False
        elif line.data is None:
            yield "long row", line.where
        elif line.data.strip(b"\r\n"):
            yield _split(line.data, encoding, delimiter), line.where


def _split(line: bytes, encoding: str, delimiter: str) -> Row:
    try:
        return line.decode(encoding).removesuffix("\n").removesuffix("\r").split(delimiter)
    except UnicodeDecodeError:
        return "wrong encoding"


class _Lines:
    """The lines of an open file for a `csv.reader`, which ends with an error where a row is too long: a quote that
    nobody has closed would take in the rest of the file."""

    def __init__(self, file: TextIO) -> None:
        self.number = 0  # of the line that was read last
        self.length = 0  # characters since the row began
        self._file = file

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        self.length += len(line)
        if self.length >= LONGEST_ROW:
            while line and line[-1] not in "\r\n":
                line = self._file.readline(LONGEST_ROW)
            raise csv.Error("long row")
        return line


def _quoted(file: TextIO, delimiter: str, quote: str) -> Iterator[tuple[Row, str]]:
    """The rows of a file with quotes, the header among them, each with the line at which it begins."""
    csv.field_size_limit(2 * LONGEST_ROW)  # a setting of the process; the length of rows is watched here
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, quotechar=quote)
    while True:
        lines.length = 0
        where = f"line {lines.number + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield "long row" if "long" in str(error) else "unreadable row", where
            continue
        if row is None:
            return
        if any(not field.isascii() and _ESCAPED.search(field) for field in row):
            yield "wrong encoding", where
        elif row:
            yield row, where


def _sample(row: list[str]) -> str:
    return plain(" | ".join(field[:20] for field in row[:5]))
