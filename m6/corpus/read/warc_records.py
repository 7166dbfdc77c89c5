"""WARC records, out of a plain file or one of gzip members, read as a stream.

In: an open file, seekable. Out: one `Record` after the other, or a Drop for what is none. A record keeps at most
`LONGEST_RECORD` bytes of memory; nothing that stands in a file makes it more. After damage the reading goes on at the
next gzip member that holds a record, or in a plain file at the next line that begins one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from m6.corpus.drop import Drop

LONGEST_RECORD = 16 * 2**20  # bytes of content
_LONGEST_HEADER = 64 * 2**10  # bytes
_CHUNK = 2**18  # bytes read at once
_FREE_BYTES = 64 * 2**20  # that a gzip member may unpack to before the ratio counts
_LARGEST_RATIO = 200  # of unpacked to packed bytes; real pages stay below 50
_GZIP = b"\x1f\x8b\x08"
_BEGIN = b"WARC/"
_HEADER = re.compile(rb"WARC/\d\.\d\r?\n((?:[^\r\n]++\r?\n)*+)\r?\n")


class Record(NamedTuple):
    """A record: its header by names in lower case, its content."""

    header: dict[str, str]
    content: bytes
    at: int  # byte of the file at which it begins; of a compressed file, at which its gzip member begins


class _DamageError(Exception):
    """Why a gzip member cannot be read on."""


def records(file: BinaryIO, path: str) -> Iterator[Record | Drop]:
    """All records of a file, of every type; the Drops say at which byte of the file."""
    stream = _Stream(file)
    found = stream.next_member(0)
    while found:
        end: int | None
        try:
            yield from _records_of_member(stream, path)
            end = stream.end()
        except _DamageError as error:
            yield Drop(str(error), _where(path, stream.member_at))
            end = None
        found = stream.next_member(stream.member_at + 1, damaged=True) if end is None else stream.next_member(end)
        if end is not None and stream.garbage:
            yield Drop("garbage between records", _where(path, end), stream.garbage)


def _where(path: str, at: int) -> str:
    return f"{path}, byte {at}"


def _records_of_member(stream: _Stream, path: str) -> Iterator[Record | Drop]:
    while stream.skip_line_ends():
        at = stream.at()
        header = _HEADER.match(stream.peek(_LONGEST_HEADER), 0, _LONGEST_HEADER)
        length = _content_length(fields := _fields(header[1])) if header else None
        if header is None or length is None:
            reason = "garbage between records" if header is None else "no content length"
            yield Drop(reason, _where(path, at), stream.peek(60)[:60].decode(errors="replace"))
            stream.skip_to_record()
            continue
        stream.take(header.end())
        if length > LONGEST_RECORD:
            yield Drop("long record", _where(path, at), fields.get("warc-target-uri", ""))
            stream.skip(length)
            continue
        content = stream.take(length)
        if len(content) < length:
            yield Drop("truncated record", _where(path, at), fields.get("warc-target-uri", ""))
        else:
            yield Record(fields, content, at)


def _fields(lines: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines.decode(errors="replace").splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _content_length(fields: dict[str, str]) -> int | None:
    value = fields.get("content-length", "")
    return int(value) if re.fullmatch("[0-9]{1,15}", value) else None


class _Stream:
    """Unpacked bytes of one gzip member after the other; a plain file is one member."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gzip = file.read(2) == _GZIP[:2]
        self._packed = b""  # read from the file, not unpacked yet
        self._read_to = 0  # byte of the file behind `_packed`
        self._buffer = b""  # unpacked, not taken yet
        self._unpacked = 0  # bytes of this member
        self._begun = False
        self.member_at = 0
        self.garbage = ""  # what stood before this member
        self._inflate: zlib._Decompress | None = None

    def next_member(self, begin: int, damaged: bool = False) -> bool:
        """Go to the member that begins at that byte; if none does, or there was damage, to the next one that holds a
        record. A plain file has one member. False if there is no further one."""
        self._buffer, self._unpacked, self.garbage = b"", 0, ""
        if not self._gzip:
            first, self._begun = not self._begun, True
            self._file.seek(0)
            return first
        at = self._find(begin, damaged)
        if at is None:
            return False
        self.member_at = at
        self._file.seek(at)
        self._packed, self._read_to = b"", at
        self._inflate = zlib.decompressobj(31)
        return True

    def _find(self, begin: int, damaged: bool) -> int | None:
        self._file.seek(begin)
        at, chunk = begin, self._file.read(_CHUNK)
        if chunk.startswith(_GZIP) and not damaged:
            return begin
        self.garbage = chunk[:60].strip(b"\0").decode(errors="replace")
        while chunk:
            found = chunk.find(_GZIP)
            while found >= 0:
                if _unpacks_to_record(chunk[found : found + 4096]):
                    return at + found
                found = chunk.find(_GZIP, found + 1)
            more = self._file.read(_CHUNK)
            kept = chunk[-4096:] if more else b""
            at += len(chunk) - len(kept)
            chunk = kept + more
        return None

    def _fill(self) -> bool:
        """Some more bytes into the buffer; False at the end of the member."""
        if not self._gzip:
            data = self._file.read(_CHUNK)
            self._unpacked += len(data)
            self._buffer += data
            return bool(data)
        assert self._inflate is not None
        while not self._inflate.eof:
            if not self._packed:
                self._packed = self._file.read(_CHUNK)
                self._read_to += len(self._packed)
                if not self._packed:
                    raise _DamageError("truncated gzip")
            try:
                data = self._inflate.decompress(self._packed, 4 * _CHUNK)
            except zlib.error:
                raise _DamageError("damaged gzip") from None
            self._packed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            self._unpacked += len(data)
            if self._unpacked > max(_FREE_BYTES, _LARGEST_RATIO * (self._read_to - self.member_at)):
                raise _DamageError("zip bomb")
            if data:
                self._buffer += data
                return True
        return False

    def at(self) -> int:
        """Where the next byte comes from: the byte in a plain file, the beginning of the member in a compressed one."""
        return self.member_at if self._gzip else self._unpacked - len(self._buffer)

    def end(self) -> int:
        """The byte of the file behind this member, which has been read to its end."""
        return self._read_to - len(self._packed) if self._gzip else self._unpacked

    def peek(self, count: int) -> bytes:
        """The next bytes, at least `count` of them if there are as many; they stay."""
        while len(self._buffer) < count and self._fill():
            pass
        return self._buffer

    def take(self, count: int) -> bytes:
        """The next bytes, fewer at the end of the member."""
        parts = []
        while count > 0 and (self._buffer or self._fill()):
            parts.append(self._buffer[:count])
            self._buffer = self._buffer[count:]
            count -= len(parts[-1])
        return b"".join(parts)

    def skip(self, count: int) -> None:
        """Pass over bytes without holding them."""
        while count > 0 and (self._buffer or self._fill()):
            passed = min(count, len(self._buffer))
            self._buffer = self._buffer[passed:]
            count -= passed

    def skip_line_ends(self) -> bool:
        """Pass over the empty lines behind a record; False if the member ends there."""
        while True:
            self._buffer = self._buffer.lstrip(b"\r\n")
            if self._buffer:
                return True
            if not self._fill():
                return False

    def skip_to_record(self) -> None:
        """Pass over bytes to the next line that begins a record, or to the end of the member."""
        first = 1  # not the place where we are
        while True:
            found = self._buffer.find(b"\n" + _BEGIN, first)
            if found >= 0:
                self._buffer = self._buffer[found + 1 :]
                return
            self._buffer = self._buffer[-len(_BEGIN) :]
            first = 0
            if not self._fill():
                self._buffer = b""
                return


def _unpacks_to_record(data: bytes) -> bool:
    try:
        return zlib.decompressobj(31).decompress(data, len(_BEGIN)) == _BEGIN
    except zlib.error:
        return False
