"""Pieces of a text to be replaced, and where its pictures stand afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """The characters `start` to `stop` - 1 of a text, and what is to stand there instead."""

    start: int
    stop: int
    mark: str = ""


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in their order; those that overlap, or touch and leave no mark, as one with the mark of the first."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.stop)):
        if result and span.start < result[-1].stop + (not span.mark):
            result[-1] = result[-1]._replace(stop=max(result[-1].stop, span.stop))
        else:
            result.append(span)
    return result


def replaced(text: str, spans: Sequence[Span], offsets: Sequence[int] = ()) -> tuple[str, list[int]]:
    """The text with the (merged) spans replaced, and the offsets in it that `offsets` have become.

    An offset within a span comes to stand before its mark, so a picture never parts a mark.
    """
    if not spans:
        return text, list(offsets)
    pieces, start = [], 0
    for span in spans:
        pieces += [text[start : span.start], span.mark]
        start = span.stop
    pieces.append(text[start:])
    return "".join(pieces), [_moved(offset, spans) for offset in offsets]


def _moved(offset: int, spans: Sequence[Span]) -> int:
    moved = offset
    for span in spans:
        if span.start >= offset:
            break
        moved += (len(span.mark) if offset >= span.stop else 0) - (min(span.stop, offset) - span.start)
    return moved
