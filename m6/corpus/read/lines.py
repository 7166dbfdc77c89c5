"""Lines of a file, in parts: what JSON lines and headless tables have in common.

In: a part of a file, by bytes. Out: the lines that begin in it, with the byte at which each begins. Files that cannot
be entered in the middle (compressed ones, UTF-16) belong whole to the part that begins at byte 0.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from m6.corpus.read.encodings import SAMPLE_SIZE, canonical, detect
from m6.corpus.read.files import READ_ERRORS, compression, open_file, open_text_bytes, size
from m6.corpus.sources import Part, cut

LONGEST_LINE = 16 * 2**20  # bytes

_PIECE = 2**20  # bytes or characters of what is passed over


class Line(NamedTuple):
    """A line with its end, and where it stands."""

    data: bytes | None  # None if it is too long
    where: str  # "byte 1024" of a file that is cut, "line 7" of one that is read whole


class Beginning(NamedTuple):
    """What the first bytes of a file tell."""

    encoding: str | None  # None if it is in none that is known
    data: bytes

    @property
    def text(self) -> str:
        """The first bytes as text, without a byte order mark."""
        return self.data.decode(self.encoding or "utf-8", errors="replace").removeprefix("\ufeff")

    @property
    def is_wide(self) -> bool:
        """Whether a line end is more than one byte."""
        return (self.encoding or "").startswith(("utf-16", "utf-32", "utf_16", "utf_32"))


def parts_of_file(name: str, path: str, bytes_per_part: int) -> list[Part]:
    """Ranges of bytes; a compressed file and an empty one are one part."""
    count = size(path)
    return [Part(name, 0, count, path)] if compression(path) or not count else cut(name, count, bytes_per_part, path)


def begin(path: str, encoding: str) -> Beginning:
    """Look at the first bytes of a file; `encoding` is what the recipe says. Raises one of `READ_ERRORS`."""
    data = b""
    with open_text_bytes(path) as file:
        try:
            while len(data) < SAMPLE_SIZE and (piece := file.read1(SAMPLE_SIZE - len(data))):  # type: ignore[attr-defined]
                data += piece
        except READ_ERRORS:
            if not data:
                raise
    return Beginning(detect(data) if encoding == "auto" else canonical(encoding), data)


def lines_of(part: Part, beginning: Beginning, longest: int = LONGEST_LINE) -> Iterator[Line]:
    """The lines of a part, as bytes of `beginning.encoding`, but UTF-16 and UTF-32 as UTF-8."""
    if compression(part.of) or beginning.is_wide:
        if part.start == 0:
            with open_text(part.of, beginning) if beginning.is_wide else open_text_bytes(part.of) as file:
                yield from _numbered(file, longest)
        return
    with open_file(part.of) as file:
        offset = max(part.start - 1, 0)
        file.seek(offset)
        if part.start:  # unless the part begins with a line, this one belongs to the part before
            offset += _skip_line(file, part.stop - offset)
        while offset < part.stop and (line := file.readline(longest)):
            length = len(line)
            is_long = length == longest and not line.endswith(b"\n")
            yield Line(None if is_long else line, f"byte {offset}")
            offset += length
            if is_long:
                del line
                offset += _skip_line(file, part.stop - offset)


def open_text(path: str, beginning: Beginning, errors: str = "replace", newline: str = "\n") -> io.TextIOWrapper:
    """The whole file as text, unpacked, with line ends as they are; `newline` as `open` has it."""
    return io.TextIOWrapper(open_text_bytes(path), encoding=beginning.encoding, errors=errors, newline=newline)


def _numbered(file: BinaryIO | io.TextIOWrapper, longest: int) -> Iterator[Line]:
    number = 0
    while line := file.readline(longest):
        number += 1
        data = line.encode(errors="replace") if isinstance(line, str) else line
        is_long = len(line) == longest and not data.endswith(b"\n")
        yield Line(None if is_long else data, f"line {number}")
        if is_long:
            del line, data
            _skip_line(file)


def _skip_line(file: BinaryIO | io.TextIOWrapper, most: int | None = None) -> int:
    """Read on behind the end of the line, or until `most` bytes are behind; returns how many bytes or characters."""
    count = 0
    while (most is None or count < most) and (piece := cast(BinaryIO, file).readline(_PIECE)):
        count += len(piece)
        if piece[-1:] in (b"\n", "\n"):
            break
    return count
