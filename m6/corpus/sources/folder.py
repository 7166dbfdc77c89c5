"""A folder of pictures with their texts beside them: `cat.jpg` and `cat.txt`.

The text file is UTF-8 and holds the caption; the picture may be of any size and common format.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.corpus.config import CorpusConfig
from m6.corpus.document import Document, Image, make_document
from m6.corpus.drop import Drop
from m6.corpus.sources import Part, cut, split_by_hash

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}
FILES_PER_PART = 1_000


def parts(config: CorpusConfig) -> list[Part]:
    """Ranges of the pictures sorted by path. UserError if the folder is missing or holds no picture."""
    path = config.folder.path
    if not path or not Path(path).is_dir():
        raise UserError(f"corpus.folder.path: {path!r} is no folder; give one with pictures and texts beside them")
    count = len(_pictures(path))
    if not count:
        raise UserError(f"{path}: no pictures; looked for files that end in {', '.join(sorted(ENDINGS))}")
    return cut("folder", count, FILES_PER_PART, path)


def read(config: CorpusConfig, part: Part, seed: int) -> Iterator[Document | Drop]:
    """The Documents of some of the pictures."""
    for path in _pictures(part.of)[part.start : part.stop]:
        yield _document(path, config)


@functools.cache
def _pictures(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())


def _document(path: Path, config: CorpusConfig) -> Document | Drop:
    name = path.relative_to(config.folder.path).as_posix()
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return Drop("no text beside the picture", name)
    if path.stat().st_size > config.folder.images.most_bytes:
        return Drop("large image file", name)
    if beside.stat().st_size > 4 * config.folder.text.longest_text:  # a character of UTF-8 has at most 4 bytes
        return Drop("long text", name)
    try:
        text = beside.read_bytes().decode()
        picture = path.read_bytes()
    except UnicodeDecodeError:
        return Drop("not UTF-8", name)
    except OSError as error:
        return Drop("unreadable file", name, error.strerror or "")
    return make_document(
        "folder",
        text,
        split=split_by_hash(name, config.folder.heldout_share),
        group=name,
        images=[Image(bytes=picture, width=0, height=0, offset=0)],
        attributes={"file": name},
    )
