"""The elements of the arrays in a JSON file, one at a time, for files that do not fit into memory.

In: an open text file with an array, or with an object that has arrays: `{"images": [...], "annotations": [...]}`.
Out: each element with the name of its array, its number there, and the character at which it begins. Arrays deeper down
belong to their element. An element that is no JSON or too long is told and passed over; the others still count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

LONGEST_ELEMENT = 16 * 2**20  # characters
CHUNK = 2**20  # characters read at once

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_BEHIND = tuple(" \t\r\n,:]}")  # what may stand behind a value; a number may go on behind the end of the window
_MARKS = re.compile(r'["\[\]{},]')
_STRING_END = re.compile(r'["\\]')


@dataclass(slots=True)
class Element:
    """An element of an array in a JSON file, or why there is none."""

    array: str  # the name under which the array stands; "" if the file is one
    index: int  # the number of the element in its array, from 0
    offset: int  # the character of the file at which it begins
    value: Any  # None if there is a reason
    reason: str = ""  # "not JSON", "long record", "truncated file"


def elements(file: TextIO) -> Iterator[Element]:
    """All elements of the array that the file is, or of those in the object that it is, in order."""
    text = _Window(file)
    opening = text.peek()
    if opening == "[":
        yield from _array(text, "")
    elif opening == "{":
        yield from _object(text)
    else:
        yield Element("", 0, 0, None, "not JSON" if opening else "empty file")


def _object(text: _Window) -> Iterator[Element]:
    text.position += 1
    while (mark := text.peek()) != "}":
        offset = text.offset()
        if mark == ",":
            text.position += 1
            continue
        key, reason = text.value() if mark == '"' else ("", "not JSON")
        if text.peek() != ":" or reason:
            yield Element("", 0, max(0, offset - 1), None, reason or "not JSON" if text.peek() else "truncated file")
            return
        text.position += 1
        if text.peek() == "[":
            if not (yield from _array(text, str(key))):
                return
        else:
            _, reason = text.value()
            if reason:
                yield Element(str(key), 0, offset, None, reason)
                if reason == "truncated file":
                    return


def _array(text: _Window, name: str) -> Generator[Element, None, bool]:
    """The elements of the array at the position; returns whether it has an end behind which one can go on."""
    text.position += 1
    index = 0
    while (mark := text.peek()) != "]":
        offset = text.offset()
        if not mark:
            yield Element(name, index, max(0, offset - 1), None, "truncated file")
            return False
        if mark == ",":
            text.position += 1
            continue
        value, reason = (None, "not JSON") if mark == "}" else text.value()
        yield Element(name, index, offset, value, reason)
        if mark == "}" or reason == "truncated file":
            return False
        index += 1
    text.position += 1
    return True


class _Window:
    """A piece of the file that moves on: characters before `position` are done with."""

    def __init__(self, file: TextIO) -> None:
        self.position = 0
        self._file = file
        self._buffer = ""
        self._before = 0  # characters of the file before the buffer
        self._ended = False
        self._decode = json.JSONDecoder(strict=False).raw_decode

    def offset(self) -> int:
        """The character of the file at `position`."""
        return self._before + self.position

    def peek(self) -> str:
        """The next character that is no space, at `position`; "" at the end."""
        while True:
            self.position = _SPACE.match(self._buffer, self.position).end()  # type: ignore[union-attr]
            if self.position < len(self._buffer):
                return self._buffer[self.position]
            if not self._more():
                return ""

    def value(self) -> tuple[Any, str]:
        """The value at `position`, which moves behind it, and no reason; or None and the reason why there is none."""
        while True:
            try:
                value, end = self._decode(self._buffer, self.position)
            except (ValueError, RecursionError):
                end = 0
            if end and (self._buffer[end : end + 1] in _BEHIND or self._ended):
                whole = end - self.position <= LONGEST_ELEMENT
                self.position = end
                return (value, "") if whole else (None, "long record")
            if len(self._buffer) - self.position > LONGEST_ELEMENT or self._ended:
                return None, self._pass_over()
            self._more()

    def _more(self) -> bool:
        """Read on, dropping what is done with; False at the end of the file."""
        rest = self._buffer[self.position :]
        piece = self._file.read(max(CHUNK, len(rest)))  # twice as much each time: a long value is tried a few times
        self._before += self.position
        self._buffer, self.position = rest + piece, 0
        self._ended = not piece
        return bool(piece)

    def _pass_over(self) -> str:
        """Move behind a value that could not be read, by its brackets and quotes alone; returns the reason."""
        start, depth = self.offset(), 0
        marks = _MARKS
        while True:
            found = marks.search(self._buffer, self.position)
            if not found:
                self.position = len(self._buffer)
                if not self._more():
                    return "truncated file"
                continue
            mark = found[0]
            if mark in "]}," and not depth:
                self.position = found.start()
                break
            self.position = found.end()
            if marks is _STRING_END:
                if mark == '"':
                    marks = _MARKS
                elif self.position == len(self._buffer) and not self._more():
                    return "truncated file"
                else:
                    self.position += 1  # what is escaped
            elif mark == '"':
                marks = _STRING_END
            else:
                depth += (mark in "[{") - (mark in "]}")
                if not depth and mark in "]}":
                    break
        return "long record" if self.offset() - start > LONGEST_ELEMENT else "not JSON"
