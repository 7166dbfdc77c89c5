"""Passage: a text as the rules see it, with what they ask for counted once.

In: a normalised title and text. Characters are counted by class with one table over all of Unicode; repetition is
found on hashes of runs of letters. Both go over the whole text at once, so a rule costs little.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
from numpy.typing import NDArray

# Classes of characters; those from HAN to DIGIT are letters and digits.
SPACE = 0  # and anything else that is not seen
HAN = 1  # Chinese characters, and 〇 and Bopomofo
KANA = 2
HANGUL = 3
OTHER_LETTER = 4  # Latin, Cyrillic, ...
DIGIT = 5
PUNCTUATION = 6
SYMBOL = 7  # mathematical, drawn, emoji, and marks that only draw lines: = # * _ ~
NUM_KINDS = 8

_HAN_RANGES = ((0x3007, 0x3007), (0x3105, 0x312F), (0x31A0, 0x31BF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))
_HAN_BEYOND = 0x20000  # planes 2 and 3
_KANA_RANGES = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FD, 0x30FF), (0x31F0, 0x31FF))
_HANGUL_RANGES = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7FB))
_DRAWING = "#*@\\_=+~^＃＊＠＼＿＝＋～＾●•※†‡"
_BETWEEN = "|｜<>"  # between the items of menus, no symbols
_LETTERS = np.array([HAN <= kind <= DIGIT for kind in range(NUM_KINDS)])
_BASE = 0x9E3779B97F4A7C15  # odd, so that no bit of a character is lost


class Passage:
    """A title and a text, both normalised; the whole text before boilerplate was cut off, and how many characters of it
    were boilerplate and advertising."""

    def __init__(
        self, title: str, text: str, whole: str | None = None, *, boilerplate: int = 0, advertising: int = 0
    ) -> None:
        self.title = title
        self.text = text
        self.whole = text if whole is None else whole
        self.boilerplate = boilerplate
        self.advertising = advertising

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")

    @functools.cached_property
    def codes(self) -> NDArray[np.uint32]:
        """The code points of the text."""
        return np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), np.uint32)

    @functools.cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The class of each character."""
        return _table().take(self.codes, mode="clip")

    @functools.cached_property
    def counts(self) -> list[int]:
        """How many characters of each class there are."""
        return np.bincount(self.kinds, minlength=NUM_KINDS).tolist()

    @functools.cached_property
    def num_letters(self) -> int:
        """Letters and digits."""
        return sum(self.counts[HAN : DIGIT + 1])

    @functools.cached_property
    def num_marks(self) -> int:
        """Punctuation and symbols."""
        return self.counts[PUNCTUATION] + self.counts[SYMBOL]

    def follows(self, kind: int, other: int) -> int:
        """How often a character of the class `other` comes right after one of the class `kind`."""
        return int(np.count_nonzero((self.kinds[:-1] == kind) & (self.kinds[1:] == other)))

    def has_ngram(self, times: int) -> bool:
        """Whether some run of four letters or digits stands in the text that often; marks and spaces do not count."""
        runs = np.sort(self._runs_of_four)
        return times <= 1 or bool((runs[times - 1 :] == runs[: 1 - times]).any())

    def duplicates_beyond(self, share: float) -> bool:
        """Whether more than that share of the letters and digits stands in runs of eight which stood before."""
        runs = _joined(self._runs_of_four, 4)
        ordered = np.sort(runs)
        if 8 * np.count_nonzero(ordered[1:] == ordered[:-1]) <= share * self.num_letters:
            return False  # so few that they need not be laid out
        order = np.argsort(runs, kind="stable")
        ordered = runs[order]
        later = order[1:][ordered[1:] == ordered[:-1]]
        covered = np.zeros(self.num_letters, bool)
        for place in range(8):
            covered[later + place] = True
        return bool(np.count_nonzero(covered) > share * self.num_letters)

    @functools.cached_property
    def _runs_of_four(self) -> NDArray[np.uint64]:
        """A hash of every run of four letters or digits."""
        letters = self.codes[_LETTERS[self.kinds]].astype(np.uint64)
        return _joined(_joined(letters, 1), 2)


def _joined(runs: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """From the hashes of runs of `size` characters, polynomials modulo 2 ** 64, to those of runs twice as long."""
    if runs.size <= size:
        return runs[:0]
    return runs[:-size] * np.uint64(pow(_BASE, size, 1 << 64)) + runs[size:]


@functools.cache
def _table() -> NDArray[np.uint8]:
    """The class of every code point."""
    table = np.zeros(0x110000, np.uint8)
    for code in (*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x20000)):
        table[code] = _kind(chr(code))
    for kind, ranges in ((HAN, _HAN_RANGES), (KANA, _KANA_RANGES), (HANGUL, _HANGUL_RANGES)):
        for first, last in ranges:
            table[first : last + 1] = kind
    table[_HAN_BEYOND : _HAN_BEYOND + 0x1FFFE] = HAN
    return table


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if (category[0] == "P" and character not in _DRAWING) or character in _BETWEEN:
        return PUNCTUATION
    if category[0] in "PS":
        return SYMBOL
    if category[0] == "N":
        return DIGIT
    return OTHER_LETTER if category[0] == "L" else SPACE
