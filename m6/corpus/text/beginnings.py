"""Where words and patterns of a list may begin in a text, found without looking at each of them.

Hardly any place of a text begins with the first two characters of an entry. A table, looked up for all places at once,
says which do; only there the entries have to be tried. The time does not grow with the list.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_SLOTS = 1 << 18
_SPECIAL = frozenset(r".^$*+?{}[]\|()")


class Beginnings:
    """The first two characters of words, or of regular expressions: where the second one stands for itself and must
    be there, else the first."""

    def __init__(self, entries: Iterable[str]) -> None:
        entries = list(entries)
        pairs = np.array([[ord(entry[0]), ord(entry[1])] for entry in entries if _is_pair(entry)], np.uint32)
        firsts = [ord(entry[0]) for entry in entries if not _is_pair(entry)]
        self._pairs = np.zeros(_SLOTS, bool)
        self._pairs[_slot(*pairs.reshape(-1, 2).T)] = True
        self._firsts = np.zeros(0x110000 if firsts else 0, bool)
        self._firsts[firsts] = True

    def places(self, text: str) -> list[int]:
        """The offsets at which an entry may begin, all that do and few others."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        may = self._firsts.take(codes, mode="clip") if self._firsts.size else np.zeros(codes.size, bool)
        may[:-1] |= self._pairs.take(_slot(codes[:-1], codes[1:]), mode="clip")
        places: list[int] = may.nonzero()[0].tolist()
        return places


def _is_pair(entry: str) -> bool:
    """Whether whatever the entry stands for begins with its first two characters."""
    return len(entry) > 1 and entry[1] not in _SPECIAL and entry[2:3] not in tuple("?*{")


def _slot(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where two characters stand in the table of pairs."""
    return (first * np.uint32(40503) ^ second) & np.uint32(_SLOTS - 1)
