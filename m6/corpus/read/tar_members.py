"""The members of a tar file, read as a stream.

In: an open file. Out: name and bytes of each regular member, in order; those that are too large or not asked for
without their bytes. Nothing is ever unpacked to a disk and links are passed over, so names can do no harm. Python's
`tarfile` is not used: it keeps every header it has seen, takes long names of any length into memory, says nothing when
a file ends too early, and is slow. Read are ustar, GNU and pax headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

BLOCK = 512  # bytes
LONGEST_NAME = 2**16  # bytes of a header that holds a long name
LARGEST_FILE = 2**60  # bytes
SKIP = 2**20  # bytes read at once where a stream cannot seek

REGULAR = (b"0", b"\0", b"7")
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes
LONG_NAME, PAX = b"L", b"x"  # of the member that follows
BEFORE_OTHERS = (b"g", b"K", b"X")  # pax values of all that follow, long names of links, pax as Solaris had it


class Member(NamedTuple):
    """A regular file in a tar file."""

    name: str  # as written there, with bytes that are no UTF-8 as \\xb0
    size: int  # bytes
    data: bytes | None  # None if it was not to be read


class TarDamageError(Exception):
    """Says in a few words what is wrong: "truncated file"."""


class _Header(NamedTuple):
    kind: bytes
    name: str
    size: int


def members(file: BinaryIO, most_bytes: Callable[[str], int]) -> Iterator[Member]:
    """The regular members; `most_bytes` says of a name up to which size it is read, -1 for not at all.

    Raises TarDamageError where the file cannot be followed any further, and what reading `file` raises.
    """
    name, size = "", -1  # what stands before a header and overrules it
    header = _header(file, begun=False)
    while header:
        if header.kind == LONG_NAME:
            name = _text(_extension(file, header))
        elif header.kind == PAX:
            values = _pax(_extension(file, header))
            name = _text(values.get(b"path", b"")) or name
            size = int(values.get(b"size", b"-1"))
        elif header.kind in BEFORE_OTHERS:
            _skip(file, _padded(header.size))
        else:
            name, size = name or header.name, size if size >= 0 else header.size
            if header.kind in REGULAR:
                yield _member(file, name, size, most_bytes)
            elif header.kind not in WITHOUT_DATA:
                _skip(file, _padded(size))
            name, size = "", -1
        header = _header(file, begun=True)


def _member(file: BinaryIO, name: str, size: int, most_bytes: Callable[[str], int]) -> Member:
    if size <= most_bytes(name):
        return Member(name, size, _exactly(file, _padded(size))[:size])
    _skip(file, _padded(size))
    return Member(name, size, None)


def _header(file: BinaryIO, begun: bool) -> _Header | None:
    """The next header, or None at the end mark."""
    block = file.read(BLOCK)
    if len(block) < BLOCK:
        raise TarDamageError("truncated file" if begun or not block else "not a tar file")
    if block.count(0) == BLOCK:
        return None
    try:
        size, checksum = _number(block[124:136]), _number(block[148:156])
    except ValueError:
        size = checksum = -1
    if size < 0 or checksum != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise TarDamageError("damaged file" if begun else "not a tar file")
    name, prefix = _text(block[:100]), _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return _Header(block[156:157], f"{prefix}/{name}" if prefix else name, size)


def _number(field: bytes) -> int:
    """A number in octal digits, or in bytes where it has too many of them."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _extension(file: BinaryIO, header: _Header) -> bytes:
    """What stands under a header that belongs to the next one."""
    if header.size > LONGEST_NAME:
        raise TarDamageError("damaged file")
    return _exactly(file, _padded(header.size))[: header.size]


def _pax(data: bytes) -> dict[bytes, bytes]:
    """The values of an extended header, records of `LENGTH KEY=VALUE` and a line end; what does not fit ends it."""
    values: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        digits, _, rest = data[position : position + 20].partition(b" ")
        if not rest or not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        key, _, value = data[position + len(digits) + 1 : position + int(digits) - 1].partition(b"=")
        if key != b"size" or (value.isdigit() and len(value) < 20):
            values[key] = value
        position += int(digits)
    return values


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise TarDamageError("truncated file")
    return data


def _skip(file: BinaryIO, count: int) -> None:
    if count > LARGEST_FILE:
        raise TarDamageError("damaged file")
    if file.seekable():
        file.seek(count, 1)  # beyond the end the next header is missing, which is told there
        return
    while count > 0:
        count -= len(_exactly(file, min(count, SKIP)))
