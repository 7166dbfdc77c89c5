"""JSON lines: one object a line, its fields as `m6/corpus/read/records.py` has them; or one JSON array of such objects.

In: files of JSON lines (.jsonl, .ndjson, .json, perhaps compressed), in any encoding that can be told by the beginning
of the file or is named. Out: Documents. Files are read as a stream, in parts of some megabytes: a part has the lines
that begin in it. A file that begins with `[` is one array, and belongs whole to the part at its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from m6.corpus.config import JsonLinesConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read.files import READ_ERRORS, find, why_unreadable
from m6.corpus.read.json_arrays import elements
from m6.corpus.read.lines import Beginning, begin, lines_of, open_text, parts_of_file
from m6.corpus.read.picture_values import finder
from m6.corpus.read.records import document, require_usable
from m6.corpus.sources import Part

BYTES_PER_PART = 32 * 2**20
ENDINGS = (".jsonl", ".ndjson", ".json")


def parts(name: str, config: JsonLinesConfig) -> list[Part]:
    """Ranges of bytes of the files. UserError if no file is given, or one is missing."""
    require_usable(name, config)
    paths = find(config.paths, ENDINGS, f"corpus.sources.{name}.paths")
    return [part for path in paths for part in parts_of_file(name, path, BYTES_PER_PART)]


def read(part: Part, config: JsonLinesConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of the lines that begin in a range of bytes; empty lines are nothing."""
    try:
        pictures = finder(part.of, config)
        for value, where in _values(part, config):
            if isinstance(value, dict):
                yield document(value, f"{part.of}, {where}", part, config, pictures)
            elif isinstance(value, Drop):
                yield value
            else:
                yield Drop("not a JSON object", f"{part.of}, {where}", repr(value)[:80])
    except EOFError as error:
        yield Drop("truncated file", part.of, str(error))
    except READ_ERRORS as error:
        yield Drop(why_unreadable(error), part.of, str(error))


def _values(part: Part, config: JsonLinesConfig) -> Iterator[tuple[Any, str]]:
    """What the lines say and where they stand; or Drops."""
    beginning = begin(part.of, config.encoding)
    if not beginning.data:
        yield Drop("no records", part.of), ""
    elif beginning.encoding is None:
        if part.start == 0:
            yield Drop("wrong encoding", part.of, beginning.data[:80].decode(errors="replace")), ""
    elif _is_array(beginning.text):
        if part.start == 0:
            yield from _elements(part.of, beginning)
    else:
        encoding = "utf-8" if beginning.is_wide else beginning.encoding
        for line in lines_of(part, beginning):
            if line.data is None:
                yield Drop("long line", f"{part.of}, {line.where}"), line.where
            elif line.data.strip():
                yield _parse(line.data, encoding, f"{part.of}, {line.where}"), line.where


def _is_array(text: str) -> bool:
    """Whether a file that begins so is one JSON array; lines of arrays are lines."""
    line, _, rest = text.partition("\n")
    if not text.lstrip().startswith("["):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return not rest.strip()


def _elements(path: str, beginning: Beginning) -> Iterator[tuple[Any, str]]:
    count = 0
    with open_text(path, beginning) as file:
        for element in elements(file):
            count += 1
            where = f"record {count}"
            yield (Drop(element.reason, f"{path}, {where}") if element.reason else element.value), where
    if not count:
        yield Drop("no records", path), ""


def _parse(line: bytes, encoding: str, where: str) -> Any:
    try:
        return json.loads(line.decode(encoding).removeprefix("\ufeff"))
    except UnicodeDecodeError:
        return Drop("wrong encoding", where, line[:80].decode(encoding, errors="replace"))
    except (ValueError, RecursionError):
        return Drop("not JSON", where, line[:80].decode(encoding, errors="replace"))
