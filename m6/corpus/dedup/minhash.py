"""MinHash of texts by their character n-grams, for many texts at once.

In: texts. Out: for each the hashes of its n-grams, or the band hashes of its MinHash signature. Texts that agree in a
band are likely to be similar; whether they are is then computed from their n-grams (`similar_texts.py`).

Texts are compared by their letters as `normalise.letters` gives them, one character at a time: without punctuation and
spaces, in lower case, traditional characters as simplified ones. So they can be looked up in a table, and all that
follows is arithmetic on arrays: this is several times faster than a hash of each n-gram.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from m6.corpus.text.normalise import letters

_UNKNOWN = 0xFFFFFFFF
_BLOCK = 1 << 16  # characters that are worked on at once: they stay in the cache of a core
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def mix(values: np.ndarray) -> np.ndarray:
    """Numbers (uint64) as well-mixed hashes of the same size, one to one."""
    values = values ^ values >> np.uint64(32)
    values *= np.uint64(0xD6E8FEB86659FD93)
    values ^= values >> np.uint64(32)
    values *= np.uint64(0xD6E8FEB86659FD93)
    values ^= values >> np.uint64(32)
    return values


def letter_codes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The letters of all texts, one text after the other, as code points (uint32), and how many each text has."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    table = _table()
    found = table[codes]
    unknown = found == _UNKNOWN
    if unknown.any():
        for code in np.unique(codes[unknown]).tolist():
            table[code] = ord((letters(chr(code)) or "\0")[0])
        found = table[codes]
    is_letter = found != 0
    counted = np.concatenate([[0], np.cumsum(is_letter)])
    return found[is_letter], np.diff(counted[np.concatenate([[0], ends])])


@functools.cache
def _table() -> np.ndarray:
    """By code point, the letter it counts as; 0 where it is none. Filled as characters are met."""
    return np.full(0x110000, _UNKNOWN, np.uint32)


def hash_ngrams(codes: np.ndarray, counts: np.ndarray, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """The hashes (uint64) of all n-grams, one text after the other, and how many each text has: none if it is shorter.

    `codes` and `counts` are those of `letter_codes`.
    """
    num_grams = np.maximum(counts - ngram + 1, 0)
    size = len(codes) - ngram + 1
    if size <= 0:
        return np.empty(0, np.uint64), num_grams
    hashes = codes[:size].astype(np.uint64)
    for offset in range(1, ngram):
        hashes *= _FACTOR
        hashes += codes[offset : offset + size]
    ends = np.cumsum(counts)
    within = np.zeros(len(codes) + 1, np.int32)  # where a text has n-grams, which do not reach into the next text
    np.add.at(within, ends - counts, num_grams > 0)
    np.add.at(within, ends - counts + num_grams, -(num_grams > 0).astype(np.int32))
    return mix(hashes[np.cumsum(within[:size]) > 0]), num_grams


def text_hashes(hashes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of the n-gram hashes of texts that have at least one, one hash (uint64) of all letters of each text in order."""
    starts = np.cumsum(counts) - counts
    places = np.arange(len(hashes)) - np.repeat(starts, counts)
    return mix(np.add.reduceat(mix(hashes + places.astype(np.uint64) * _FACTOR), starts))


def band_hashes(hashes: np.ndarray, counts: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Of the n-gram hashes of texts that have at least one, the band hashes of each text: (texts, bands) uint64.

    One of the `bands * rows` hash functions is the upper half of a hash times an odd number, modulo 2^32; each keeps
    its smallest value of a text.
    """
    short = (hashes >> np.uint64(32)).astype(np.uint32)
    starts = np.cumsum(counts) - counts
    found = np.empty((bands, len(counts)), np.uint64)
    product = np.empty_like(short)
    for band in range(bands):
        joined = np.full(len(counts), band + 1, np.uint64)
        for row in range(rows):
            np.multiply(short, _odd_numbers(bands * rows)[band * rows + row], out=product)
            joined *= _FACTOR
            joined += np.minimum.reduceat(product, starts)
        found[band] = mix(joined)
    return found.T


@functools.cache
def _odd_numbers(count: int) -> np.ndarray:
    return (mix(np.arange(1, count + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)


def blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in order, in blocks that are quick to work on."""
    start = size = 0
    for stop, text in enumerate(texts):
        if size and size + len(text) > _BLOCK:
            yield texts[start:stop]
            start, size = stop, 0
        size += len(text)
    if start < len(texts):
        yield texts[start:]
