"""Whether a poem rhymes, and whether its tones alternate as in regulated verse (近体诗), by how characters were read in
the eighth century.

The table `rhymes.txt` has the rhymes and tones of some 3,800 characters of Tang poetry, and of thousands more by the
Guangyun; see `build.py`. A character may
have several readings: whatever keeps the rule counts, and one that is not in the table is passed over. The poets' own
poems do not keep every rule, so their rates stand beside those of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

LEVEL = "level"


class Reading(NamedTuple):
    """How a character sounds at the end of a line."""

    rhyme: str
    """The level rhyme of the Pingshui table that names its group, such as 东."""
    tone: str
    """level (平); rising, departing and entering are oblique (仄)."""


@cache
def readings() -> dict[str, frozenset[Reading]]:
    """All readings of every character of the table."""
    found: dict[str, set[Reading]] = {}
    for line in (files(__name__) / "rhymes.txt").read_text(encoding="utf-8").splitlines():
        rhyme, tone, characters = line.split()
        for character in characters:
            found.setdefault(character, set()).add(Reading(rhyme, tone))
    return {character: frozenset(own) for character, own in found.items()}


def rhymes(lines: Sequence[str]) -> bool | None:
    """Whether every second line ends in one rhyme and tone; None where fewer than two of their ends are known."""
    ends = [line[-1] for line in lines[1::2] if line]
    known = [readings()[end] for end in ends if end in readings()]
    return bool(frozenset.intersection(*known)) if len(known) > 1 else None


def tonal_checks(lines: Sequence[str]) -> tuple[int, int]:
    """How many rules of regulated verse a poem keeps, of how many that can be told; lines of five or seven characters.

    Within a line the second character differs in tone from the fourth, the fourth from the sixth; the second characters
    of a couplet's lines differ (对), those of a line and the next couplet's first agree (粘); every second line ends
    level, the others but the first oblique.
    """
    kept = told = 0

    def check(right: bool | None) -> None:
        nonlocal kept, told
        kept, told = kept + bool(right), told + (right is not None)

    for number, line in enumerate(lines):
        for place in range(1, len(line) - 2, 2):
            check(_alike(line[place], line[place + 2], opposite=True))
        if number:
            check(_alike(lines[number - 1][1:2], line[1:2], opposite=number % 2 == 1))
        tones = _levels(line[-1:])
        if number and tones:
            check((number % 2 == 1) in tones)
    return kept, told


def _alike(one: str, other: str, opposite: bool) -> bool | None:
    """Whether two characters may agree in tone, level or oblique; or differ. None if one is not known."""
    first, second = _levels(one), _levels(other)
    if not first or not second:
        return None
    return any((a != b) == opposite for a in first for b in second)


def _levels(character: str) -> frozenset[bool]:
    """Whether it may be level, whether it may be oblique."""
    return frozenset(reading.tone == LEVEL for reading in readings().get(character, ()))
