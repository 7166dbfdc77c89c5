"""Columns: Parquet and Arrow files, a record a row, its fields as `m6/corpus/read/records.py` has them.

In: .parquet files, and .arrow files as Hugging Face `datasets` saves them (`save_to_disk`): of a folder with a
`state.json` the files that it lists, so that what `datasets` has cached there beside them is left alone. Out:
Documents. A part is some row groups of a Parquet file, or a whole Arrow file; only the columns that are asked for are
read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from m6.config import UserError
from m6.corpus.config import ParquetConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read.columns import column_names, row_groups, rows
from m6.corpus.read.files import READ_ERRORS, find, folder_of, join, open_file
from m6.corpus.read.picture_values import finder
from m6.corpus.read.records import document, field_names, missing_column, require_columns, require_usable
from m6.corpus.sources import Part

BYTES_PER_PART = 64 * 2**20  # of row groups that are done together, unpacked
ENDINGS = (".parquet", ".arrow")
OPENED_AT_ONCE = 16  # files whose ends are read, which in object storage is waiting

Outline = list[tuple[int, int]] | str
"""Rows and bytes of each row group, or why the file cannot be read."""


def parts(name: str, config: ParquetConfig) -> list[Part]:
    """Row groups, as the end of each file lists them. UserError if no file is given or one is missing, if none can be
    read, and if the first that can be read lacks a column."""
    require_usable(name, config)
    field = f"corpus.sources.{name}.paths"
    paths = _saved(find(config.paths, ENDINGS, field), config.paths, field)
    with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
        outlines = list(threads.map(_outline, paths))
    readable = [path for path, outline in zip(paths, outlines, strict=True) if not isinstance(outline, str)]
    if not readable:
        raise UserError(f"{field}: {paths[0]}: cannot be read as Parquet or Arrow: {outlines[0]}")
    require_columns(column_names(readable[0]), readable[0], name, config)
    found = []
    for path, outline in zip(paths, outlines, strict=True):
        found += [Part(name, 0, 0, path)] if isinstance(outline, str) else _group(name, path, outline)
    return found


def read(part: Part, config: ParquetConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some row groups, or of a whole Arrow file."""
    try:
        columns = column_names(part.of)
        if missing := missing_column(columns, config):
            if part.start == 0:
                yield Drop("missing column", f"{part.of}, column {missing[1]}", "there are " + ", ".join(columns))
            return
        pictures = finder(part.of, config)
        wanted = [name for name in field_names(config) if name in columns]
        number = -1
        for number, row in rows(part.of, part.start, part.stop, wanted):
            where = f"{part.of}, row {number + 1}"
            yield Drop(row, where) if isinstance(row, str) else document(row, where, part, config, pictures)
        if number < 0 and part.start == 0:
            yield Drop("no records", part.of)
    except READ_ERRORS as error:
        yield Drop("unreadable file", part.of, _in_a_line(error))


def _saved(paths: list[str], given: tuple[str, ...], field: str) -> list[str]:
    """The files without those that the `state.json` beside them does not list. UserError if a listed one is missing
    from a folder that is not given file by file."""
    chosen = set(paths)
    listed: dict[str, list[str] | None] = {}
    for folder in dict.fromkeys(folder_of(path) for path in paths if path.endswith(".arrow")):
        names = _state(folder)
        listed[folder] = None if names is None else [join(folder, name) for name in names]
        missing = [path for path in listed[folder] or () if path not in chosen]
        if missing and not any(folder_of(path) == folder for path in given):
            raise UserError(f"{field}: {missing[0]} is listed in state.json and missing; save the data set again")
    return [path for path in paths if (names := listed.get(folder_of(path))) is None or path in names]


def _state(folder: str) -> list[str] | None:
    """The names of the files of a saved data set, or None if the folder has no readable `state.json`."""
    try:
        with open_file(join(folder, "state.json")) as file:
            return [str(entry["filename"]) for entry in json.load(file)["_data_files"]]
    except (*READ_ERRORS, ValueError, KeyError, TypeError):
        return None


def _outline(path: str) -> Outline:
    try:
        return row_groups(path)
    except READ_ERRORS as error:
        return _in_a_line(error)


def _group(name: str, path: str, outline: list[tuple[int, int]]) -> list[Part]:
    """Parts of row groups that together have some megabytes; at least one part a file."""
    found, start, weight = [], 0, 0
    for number, (_, size) in enumerate(outline):
        if number > start and weight + size > BYTES_PER_PART:
            found.append(Part(name, start, number, path))
            start, weight = number, 0
        weight += size
    return [*found, Part(name, start, len(outline), path)]


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
