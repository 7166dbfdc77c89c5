"""Files that say things about pictures, one record a thing said: captions and questions, grouped by picture.

In: a file of JSON arrays or of lines, which stands in one place, and a folder of pictures, which stand in another.
Out: for each picture all that the file says about it, wherever it stands there, and the bytes of the picture. A file is
cut into parts by characters: a picture belongs to the part in which it is first spoken of. Each part reads the whole
file as a stream, and holds what belongs to its own pictures and the names of those before them.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from m6.corpus.config import FilesConfig
from m6.corpus.drop import Drop
from m6.corpus.read.encodings import require_known
from m6.corpus.read.files import READ_ERRORS, compression, find, picture_bytes
from m6.corpus.read.json_arrays import elements
from m6.corpus.read.lines import begin, open_text, parts_of_file
from m6.corpus.read.picture_values import pictures_of
from m6.corpus.read.records import plain as whole_characters
from m6.corpus.sources import Part

BYTES_PER_PART = 32 * 2**20  # of a file with captions or questions, each part of which reads the whole file
LONGEST_LINE = 2**20  # characters
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
FOLDERS = ("", "train2014", "val2014")  # in the folder of the pictures, as the archives of COCO have them
SAMPLE_CHARACTERS = 80

About = tuple[str, tuple[str, ...]]
"""A picture, by what the file calls it, and texts about it."""
Statement = About | str | None
"""What a record says; or why it says nothing; or None for what is no record."""


class Said(NamedTuple):
    """Something that a file says about a picture."""

    where: str  # for a person: the file, and line or index
    texts: tuple[str, ...]


def parts_of_files(name: str, config: FilesConfig, endings: tuple[str, ...]) -> list[Part]:
    """Ranges of characters of the files. UserError for files that are missing and for an unknown encoding."""
    require_known(config.encoding, f"corpus.sources.{name}.encoding")
    paths = find(config.paths, endings, f"corpus.sources.{name}.paths")
    return [part for path in paths for part in parts_of_file(name, path, BYTES_PER_PART)]


def said_of_pictures(
    part: Part,
    encoding: str,
    say: Callable[[str, Any], Statement],
    say_line: Callable[[str], Statement] | None = None,
) -> Iterator[Drop | tuple[str, list[Said]]]:
    """What the file says of each picture that belongs to the part, in the order in which they are first spoken of;
    before them the Drops of the part. `say` makes a record of an element of the array of a name, `say_line` of a line
    of a file that is no JSON."""
    start, stop = part.start, math.inf if compression(part.of) else part.stop
    earlier: set[str] = set()
    mine: dict[str, list[Said]] = {}
    empty = True
    for offset, where, said in _records(part, encoding, say, say_line):
        empty = False
        if isinstance(said, Drop):
            if start <= offset < stop:
                yield said
            continue
        picture, texts = said
        if offset < start:
            earlier.add(picture)
        elif picture in mine:
            mine[picture].append(Said(where, texts))
        elif offset < stop and picture not in earlier:
            mine[picture] = [Said(where, texts)]
    if empty and not start:
        yield Drop("no records", part.of)
    yield from mine.items()


def records(path: str, encoding: str, say: Callable[[str, Any], Statement]) -> Iterator[About]:
    """All that a JSON file says, ungrouped; what cannot be read is passed over."""
    for _, _, said in _records(Part("", 0, 0, path), encoding, say, None):
        if not isinstance(said, Drop):
            yield said


def _records(
    part: Part, encoding: str, say: Callable[[str, Any], Statement], say_line: Callable[[str], Statement] | None
) -> Iterator[tuple[int, str, Drop | About]]:
    """Every record with the character at which it begins, and where it stands."""
    path = part.of
    try:
        beginning = begin(path, encoding)
        if beginning.encoding is None:
            yield 0, path, Drop("wrong encoding", path)
            return
        first = beginning.data.decode(beginning.encoding, "replace").lstrip("\ufeff \t\r\n")[:1]
        with open_text(path, beginning) as text:
            if say_line and first not in ("{", "["):
                yield from _from_lines(text, path, say_line)
            elif first:
                yield from _from_json(text, path, say)
    except READ_ERRORS as error:
        reason = "truncated file" if isinstance(error, EOFError) else "unreadable file"
        yield part.start, path, Drop(reason, path, str(error))


def _from_json(
    text: TextIO, path: str, say: Callable[[str, Any], Statement]
) -> Iterator[tuple[int, str, Drop | About]]:
    for element in elements(text):
        where = f"{path}, {element.array}[{element.index}]"
        statement = element.reason or say(element.array, element.value)
        if statement is not None:
            yield element.offset, where, _checked(statement, where, element.value)


def _from_lines(text: TextIO, path: str, say: Callable[[str], Statement]) -> Iterator[tuple[int, str, Drop | About]]:
    offset = number = 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        start, where = offset, f"{path}, line {number}"
        offset += len(line)
        statement = say(line) if line.strip() else None
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            statement = "long line"
            while (rest := text.readline(LONGEST_LINE)) and not rest.endswith("\n"):
                offset += len(rest)
            offset += len(rest)
        if statement is not None:
            yield start, where, _checked(statement, where, line)


def _checked(statement: About | str, where: str, value: object) -> Drop | About:
    if not isinstance(statement, str) and any("\ufffd" in text for text in statement[1]):
        statement = "broken characters"
    return Drop(statement, where, plain(str(value)[:SAMPLE_CHARACTERS])) if isinstance(statement, str) else statement


def find_picture(root: str, names: Sequence[str], most_bytes: int) -> tuple[str, bytes] | str:
    """Name and bytes of the first picture of these names that is there, in `root` or one of `FOLDERS` in it; or the
    reason why there is none. A name without the ending of a picture is tried with all of them."""
    for name in names:
        endings = ("",) if name.lower().endswith(ENDINGS) else ENDINGS
        for folder in FOLDERS:
            for ending in endings:
                found = picture_bytes(root, posixpath.join(folder, name + ending), most_bytes)
                if found != "missing image":
                    checked = found if isinstance(found, str) else check_bytes(found, most_bytes)
                    return checked if isinstance(checked, str) else (name + ending, checked)
    return "missing image"


def check_bytes(data: bytes, most_bytes: int) -> bytes | str:
    """The bytes of a picture, or the reason why they are none at first sight: "image is HTML"."""
    (found,) = pictures_of(data, _nowhere, most_bytes) or ["unreadable image"]
    return found if isinstance(found, str) else found.data


def _nowhere(name: str) -> str:
    return "missing image"


def stem(name: str) -> str:
    """What a picture is called in every file that speaks of it: `val2014/COCO_val2014_000000043734.jpg` without folder
    and ending. The split is made by it, so that captions and questions of a picture fall on the same side."""
    base = posixpath.basename(name)
    return base[: base.rindex(".")] if base.lower().endswith(ENDINGS) else base


def described(config: FilesConfig) -> dict[str, str]:
    """The attribute with the licence, if the recipe names one."""
    return {"licence": config.licence} if config.licence else {}


def plain(value: object) -> str:
    """A text without halves of characters, which JSON can say and UTF-8 cannot; "" if it is no text."""
    return whole_characters(value).strip() if isinstance(value, str) else ""


def identity(value: object) -> str:
    """A number or a text as an id; "" if it is none."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else plain(value)
