"""JSON lines: one object a line with a text, and perhaps a title and the path of a picture.

Files are read as a stream, in parts of some megabytes: a part has the lines that begin in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m6.config import UserError
from m6.corpus.config import CorpusConfig
from m6.corpus.document import Document, Image, content_id, make_document
from m6.corpus.drop import Drop
from m6.corpus.sources import Part, cut, split_by_hash

BYTES_PER_PART = 32 * 2**20
LONGEST_LINE = 16 * 2**20  # bytes


def parts(config: CorpusConfig) -> list[Part]:
    """Ranges of bytes of the files. UserError if no file is given, or one is missing."""
    if not config.jsonl.paths:
        raise UserError("corpus.jsonl.paths: no files given; name at least one file of JSON lines")
    found = []
    for path in config.jsonl.paths:
        if not Path(path).is_file():
            raise UserError(f"corpus.jsonl.paths: {path}: no such file")
        found += cut("jsonl", Path(path).stat().st_size, BYTES_PER_PART, path)
    return found


def read(config: CorpusConfig, part: Part, seed: int) -> Iterator[Document | Drop]:
    """The Documents of the lines that begin in a range of bytes; empty lines are nothing."""
    with open(part.of, "rb") as file:
        file.seek(max(part.start - 1, 0))
        if part.start:
            _skip_line(file)  # unless the part begins with a line, this one belongs to the part before
        while (start := file.tell()) < part.stop:
            line = file.readline(LONGEST_LINE)
            where = f"{part.of}, byte {start}"
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                _skip_line(file)
                yield Drop("long line", where)
            elif line.strip():
                yield _document(line, where, Path(part.of).parent, config)


def _skip_line(file: Any) -> None:
    while (piece := file.readline(LONGEST_LINE)) and not piece.endswith(b"\n"):
        pass


def _document(line: bytes, where: str, root: Path, config: CorpusConfig) -> Document | Drop:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return Drop("not UTF-8", where)
    except (ValueError, RecursionError):
        return Drop("not JSON", where, line[:80].decode(errors="replace"))
    fields = config.jsonl
    if not isinstance(row, dict):
        return Drop("not a JSON object", where, str(row)[:80])
    values = [row.get(field) or "" for field in (fields.text_field, fields.title_field, fields.image_field)]
    if not all(isinstance(value, str) for value in values):
        return Drop("a field is not a text", where, str(row)[:80])
    text, title, image = values
    images = []
    if image:
        picture = _picture(root, image, fields.images.most_bytes)
        if isinstance(picture, str):
            return Drop(picture, where, image)
        images.append(Image(bytes=picture, width=0, height=0, offset=0))
    key = content_id("", title, text, [picture["bytes"] for picture in images])
    split = split_by_hash(key, fields.heldout_share)
    return make_document("jsonl", text, title=title, split=split, group=key, images=images)


def _picture(root: Path, name: str, most_bytes: int) -> bytes | str:
    """The bytes of a picture, or the reason why there are none."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            return "image outside the folder"
        if not path.is_file():
            return "missing image"
        return path.read_bytes() if path.stat().st_size <= most_bytes else "large image file"
    except (OSError, ValueError):  # a name too long, or with a null character
        return "missing image"
