"""Boilerplate and advertising: what stands around the content of a page, found line by line or sentence by sentence.

In: a normalised text. Out: the spans to cut off, and how many of their characters are advertising. A short line goes as
a whole; in a longer one the sentence goes, so that one call to subscribe does not cost an article of one paragraph.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from m6.corpus.text.beginnings import Beginnings
from m6.corpus.text.lists import bundled
from m6.corpus.text.spans import Span, merged

LONGEST_LINE = 60  # characters of a line that is cut as a whole
LONGEST_MENU = 120  # characters of a line that may be navigation
_SENTENCE_END = re.compile(r"[。！？!?；]+[”』」）]?")
_LISTS = ("boilerplate", "advertising", "hints")


class Found(NamedTuple):
    """What of a text is boilerplate or advertising."""

    spans: list[Span]
    boilerplate: int = 0  # characters
    advertising: int = 0  # characters


def find(text: str) -> Found:
    """Where boilerplate and advertising stand in a normalised text."""
    kinds: dict[Span, dict[str, str]] = {}
    beginnings, pattern, lists = _patterns()
    lowered = text.lower()
    lowered = lowered if len(lowered) == len(text) else text  # offsets must hold; few letters grow in lower case
    unit, end = Span(0, 0), 0
    for place in beginnings.places(lowered):
        if place >= end and (hit := pattern.match(lowered, place)):
            assert hit.lastindex is not None
            end = hit.end()
            unit = unit if place < unit.stop else _unit(text, place, end, unit.stop)
            kinds.setdefault(unit, {})[hit[0]] = lists[hit.lastindex - 1]
    boilerplate = {unit for unit, hits in kinds.items() if "boilerplate" in hits.values()}
    advertising = {
        unit for unit, hits in kinds.items() if "advertising" in hits.values() or list(hits.values()).count("hints") > 1
    }
    boilerplate.update(_menus(text))
    spans = merged({*boilerplate, *advertising})
    if spans and spans[-1].stop == len(text):  # no newline or space is left at the end
        spans[-1] = Span(len(text[: spans[-1].start].rstrip()), len(text))
    return Found(spans, _length(boilerplate - advertising), _length(advertising))


def _length(units: set[Span]) -> int:
    return sum(unit.stop - unit.start for unit in units)


def _menus(text: str) -> list[Span]:
    """Lines that are made of the items of menus alone; one such item on its own may be a heading and stays."""
    menus: list[Span] = []
    run: list[Span] = []
    items, start = 0, 0
    menu, item = _menu()
    for line in [*text.split("\n"), ""]:
        stop = start + len(line)
        if line and len(line) <= LONGEST_MENU and menu.fullmatch(line):
            run.append(Span(start, min(stop + 1, len(text))))
            items += len(item.findall(line))
        elif run:
            menus += run if items > 1 else []
            run, items = [], 0
        start = stop + 1
    return menus


def _unit(text: str, start: int, stop: int, after: int) -> Span:
    """The line around a hit, or if it is long the sentence; nothing before `after` is looked at."""
    first = max(text.rfind("\n", after, start) + 1, after)
    last = text.find("\n", max(stop - 1, start))
    last = len(text) if last < 0 else last
    if last - first > LONGEST_LINE:
        first = max((end.end() for end in _SENTENCE_END.finditer(text, first, start)), default=first)
        end = _SENTENCE_END.search(text, stop, last)
        last = end.end() if end else last
    return Span(first, min(last + 1, len(text)) if text[last : last + 1] in ("\n", " ") else last)


@functools.cache
def _patterns() -> tuple[Beginnings, re.Pattern[str], tuple[str, ...]]:
    """All lists as one pattern, where it may match, and the list of each of its empty groups: the one after the
    alternative that is found tells where this comes from."""
    entries = [(entry, name) for name in _LISTS for entry in bundled(name)]
    pattern = re.compile("|".join(f"{entry}()" for entry, _ in entries))
    return Beginnings(entry for entry, _ in entries), pattern, tuple(name for _, name in entries)


@functools.cache
def _menu() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A line of items, and an item."""
    items = "|".join(sorted(map(re.escape, bundled("navigation")), key=len, reverse=True))
    between = r" |｜>»/·\-\[\]【】"
    return re.compile(rf"[{between}]*(?:(?:{items})(?:[{between}]+|$))+"), re.compile(rf"[^{between}]+")
