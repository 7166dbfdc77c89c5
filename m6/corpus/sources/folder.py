"""A folder of pictures with their texts beside them: `cat.jpg` and `cat.txt`, or `cat.json` with fields.

In: pictures of any size and common format, in the folder and the folders in it; a text is the caption, a JSON object
has it under `text` or `caption` and may have a title, keywords, a question and its answer. Out: a Document a picture.
Hidden files are passed over, and nothing outside the folder is read: links that lead out of it are Drops.

Pictures stand in the order of a hash of their names. So a part is a range of hashes, which a worker picks out of a
listing of millions of names without holding it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m6.config import UserError
from m6.corpus.config import FolderConfig, RecordsConfig, SourceConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.read.encodings import decode, require_known
from m6.corpus.read.files import picture_bytes
from m6.corpus.read.records import document
from m6.corpus.sources import Part, cut

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
PICTURES_PER_PART = 1_000
MOST_PARTS = 128  # each lists the whole folder once
LONGEST_TEXT = 16 * 2**20  # bytes
HASHES = 2**32


def parts(name: str, config: FolderConfig) -> list[Part]:
    """Ranges of hashes. UserError if the folder is missing or holds no picture."""
    field = f"corpus.sources.{name}"
    require_known(config.encoding, f"{field}.encoding")
    if not config.path or not Path(config.path).is_dir():
        raise UserError(f"{field}.path: {config.path!r} is no folder; give one with pictures and texts beside them")
    count = sum(1 for _ in _names(config.path))
    if not count:
        raise UserError(f"{field}.path: {config.path}: no pictures; looked for files that end in {' '.join(ENDINGS)}")
    number = min(-(-count // PICTURES_PER_PART), MOST_PARTS)
    return cut(name, HASHES, -(-HASHES // number), config.path)


def read(part: Part, config: FolderConfig, seed: int) -> Iterator[Document | Drop]:
    """The Documents of the pictures whose names have a hash in the range."""
    inherited = {field: getattr(config, field) for field in SourceConfig.model_fields}
    fields = RecordsConfig(**inherited, text_field=config.text_field, group_field="file", attribute_fields=("file",))
    mine = ((position, name) for name in _names(part.of) if part.start <= (position := _position(name)) < part.stop)
    for _, name in sorted(mine):
        record = _record(part.of, name, config)
        where = _printable(os.path.join(part.of, name))
        if isinstance(record, str):
            yield Drop(record, where)
        else:
            yield document(record, where, part, fields, _nowhere)


def _names(root: str) -> Iterator[str]:
    """The paths of all pictures, from `root` on, in no order; and of folders that cannot be entered: links, and those
    that may not be read."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    path = os.path.join(folder, entry.name)
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.name.lower().endswith(ENDINGS) or (entry.is_symlink() and entry.is_dir()):
                        yield path
        except OSError:
            yield folder


def _position(name: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:4], "big")


def _record(root: str, name: str, config: FolderConfig) -> dict[str, Any] | str:
    """The fields of a picture and of what stands beside it, or the reason why there are none."""
    if not name.lower().endswith(ENDINGS):
        return "linked folder" if os.path.islink(os.path.join(root, name)) else "unreadable folder"
    record = _beside(root, name[: name.rindex(".")], config)
    if isinstance(record, str):
        return record
    picture = picture_bytes(root, name, config.images.most_bytes)
    if isinstance(picture, str):
        return picture
    return {**record, "image": picture or "empty", "file": _printable(name)}


def _printable(path: str) -> str:
    """A path as UTF-8 can say it: names of files may be any bytes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _beside(root: str, stem: str, config: FolderConfig) -> dict[str, Any] | str:
    """The fields of the text or JSON file of a picture; of both, the text counts."""
    for ending in (".txt", ".json"):
        data = picture_bytes(root, stem + ending, LONGEST_TEXT)
        if data == "missing image":
            continue
        if isinstance(data, str):
            return "long text" if data == "large image file" else "text outside the folder"
        text = decode(data, config.encoding)
        if text is None:
            return "wrong encoding"
        return {config.text_field: text} if ending == ".txt" else _fields(text, config.text_field)
    return "no text beside the picture"


def _fields(text: str, text_field: str) -> dict[str, Any] | str:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(record, dict):
        return "not a JSON object"
    if text_field not in record and "caption" in record:
        record[text_field] = record["caption"]
    return record


def _nowhere(name: str) -> str:
    """Pictures are given as bytes here, never by name."""
    return "unreadable image"
