"""Scripts: what a text is written in, found from its letters alone.

In: a column of texts. Out: a name for each: Chinese by the characters that only simplified or only traditional writing
has, Japanese by its kana, others by the letters that most of it is made of. A guess for a histogram: it tells scripts
apart, not languages that share one.
"""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa

SIMPLIFIED, TRADITIONAL, CHINESE = "Chinese, simplified", "Chinese, traditional", "Chinese, either"
SCRIPTS = (SIMPLIFIED, TRADITIONAL, CHINESE, "Japanese", "Korean", "Latin", "Cyrillic", "other", "no letters")
KANA_SHARE = 0.1  # of Chinese characters and kana, from which a text is Japanese

_NONE, _HAN, _SIMPLIFIED, _TRADITIONAL, _KANA, _HANGUL, _LATIN, _CYRILLIC, _OTHER = range(9)
_RANGES = {
    _HAN: [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF), (0x3007, 0x3007)],
    _KANA: [(0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0xFF66, 0xFF9D)],
    _HANGUL: [(0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3)],
    _LATIN: [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A)],
    _CYRILLIC: [(0x400, 0x52F)],
    _OTHER: [(0x370, 0x3FF), (0x530, 0x10FF), (0x1200, 0x1FFF), (0xA000, 0xABFF)],
}
_SLICE = 2**20  # characters looked at together


def main_scripts(texts: pa.ChunkedArray) -> list[str]:
    """The name, one of `SCRIPTS`, of what each text is mainly written in."""
    names: list[str] = []
    waiting: list[str] = []
    length = 0
    for text in texts.to_pylist():
        waiting.append(text or "")
        length += len(waiting[-1])
        if length >= _SLICE:
            names += _names(waiting)
            waiting, length = [], 0
    return names + _names(waiting)


def _names(texts: list[str]) -> list[str]:
    letters = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), np.uint32)
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    classes = 9 * row + _classes()[letters]
    counts = np.bincount(classes, minlength=9 * len(texts)).reshape(-1, 9)
    return [_name(count) for count in counts.tolist()]


def _name(count: list[int]) -> str:
    """A name for the letters of a text, counted by class."""
    han = count[_HAN] + count[_SIMPLIFIED] + count[_TRADITIONAL]
    japanese = count[_KANA] > KANA_SHARE * (han + count[_KANA])
    chinese = (
        SIMPLIFIED
        if count[_SIMPLIFIED] > count[_TRADITIONAL]
        else TRADITIONAL
        if count[_TRADITIONAL] > count[_SIMPLIFIED]
        else CHINESE
    )
    amounts = {
        "Japanese" if japanese else chinese: han + count[_KANA],
        "Korean": count[_HANGUL],
        "Latin": count[_LATIN],
        "Cyrillic": count[_CYRILLIC],
        "other": count[_OTHER],
    }
    name = max(amounts, key=lambda name: amounts[name])
    return name if amounts[name] else "no letters"


@functools.cache
def _classes() -> np.ndarray:
    """The class of every code point. Which characters are simplified and which traditional, OpenCC knows: those that
    it writes otherwise in the other script."""
    from opencc import OpenCC

    table = np.full(0x110000, _NONE, np.uint8)
    for number, ranges in _RANGES.items():
        for first, last in ranges:
            table[first : last + 1] = number
    characters = [chr(code) for code in range(0x4E00, 0xA000)]

    def changed(conversion: str) -> set[str]:
        written = OpenCC(conversion).convert("\n".join(characters)).split("\n")
        return {before for before, after in zip(characters, written, strict=True) if before != after}

    # What one of the traditional standards leaves as it is (床, 台) is not simplified alone.
    table[[ord(one) for one in changed("s2t") & changed("s2tw") & changed("s2hk")]] = _SIMPLIFIED
    table[[ord(one) for one in changed("t2s")]] = _TRADITIONAL
    return table
