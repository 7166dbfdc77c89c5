"""Training of a fluency model: counting trigrams of characters, and what they say of each other.

In: texts, read once. Out: a `FluencyModel`. All that is estimated comes from the counts of trigrams. Texts are counted
some million characters at a time; if there are more trigrams than fit the memory, the rarest are forgotten, which is
the same for the same texts in the same order.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable

import numpy as np

from m6.config import UserError
from m6.corpus.text.fluency.model import (
    SPACE,
    START,
    UNKNOWN,
    FluencyModel,
    Parts,
    batches,
    pack_shares,
    to_stream,
    unigram_probabilities,
)

CHUNK = 1 << 22  # characters counted at once
CODE_POINTS = 0x110000
TINY = 1e-30  # START has no probability of its own
BITS = 21  # of a code point
MASK = np.uint64((1 << BITS) - 1)
START_CODE = (1 << BITS) - 1  # no code point: a text begins
MOST_CHARACTERS = 60_000
HAN = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
SPACES = "\t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
RUN_CHARACTERS = " 0a"  # each stands for a run of its kind: SPACE, DIGIT, LATIN
RUN_CODES = tuple(map(ord, RUN_CHARACTERS))
QUOTES = dict.fromkeys("“”„「」『』﹁﹂﹃﹄", '"') | dict.fromkeys("‘’", "'")


def train(texts: Iterable[str], *, fewest: int = 2, most: int = 0, most_in_memory: int = 30_000_000) -> FluencyModel:
    """A model of these texts.

    Characters seen fewer than `fewest` times are unknown ones. `most` n-grams are kept, those that tell most of the
    texts; 0 keeps all. `most_in_memory` trigrams are counted (16 bytes each, about four times that at the peak).
    UserError if there are no texts.
    """
    folds = fold_table()
    keys, counts = _count(texts, folds, most_in_memory)
    if not len(keys):
        raise UserError("fluency model: there are no texts to learn from")
    characters = _characters(keys, counts, fewest)
    parts = _estimate(*_to_symbols(keys, counts, characters), characters, most)
    folded = np.flatnonzero(folds != np.arange(len(folds)))
    folded = folded[np.isin(folds[folded], characters[SPACE:])]
    return FluencyModel(parts._replace(folds=np.stack([folded, folds[folded]], axis=1).astype(np.uint32)))


@functools.cache
def fold_table() -> np.ndarray:
    """The code point that each code point counts as, uint32: simplified script, half width, one of all spaces, of all
    digits and of all Latin letters."""
    from opencc import OpenCC

    table = np.arange(CODE_POINTS, dtype=np.uint32)
    traditional = [chr(code) for first, last in HAN for code in range(first, last + 1)]
    simplified = OpenCC("t2s").convert("\n".join(traditional)).split("\n")
    pairs = {old: new for old, new in zip(traditional, simplified, strict=True) if len(new) == 1}
    pairs |= {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)} | QUOTES
    pairs |= dict.fromkeys(SPACES, RUN_CHARACTERS[0])
    for characters, run in zip((string.digits, string.ascii_letters), RUN_CHARACTERS[1:], strict=True):
        pairs |= {chr(ord(character) + wide): run for character in characters for wide in (0, 0xFEE0)}
    for old, new in pairs.items():
        table[ord(old)] = ord(new)
    return table


def _count(texts: Iterable[str], folds: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Trigrams of code points, sorted, three times 21 bits in uint64; and how often each is seen, int64."""
    keys, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    runs = np.isin(np.arange(CODE_POINTS), RUN_CODES)
    for batch in batches(texts, CHUNK):
        stream, _ = to_stream(batch, folds, runs, START_CODE)
        codes = stream.astype(np.uint64)
        found = (codes[:-2] << 2 * BITS | codes[1:-1] << BITS | codes[2:])[codes[2:] != START_CODE]
        keys, counts = _merge(np.append(keys, found), np.append(counts, np.ones(len(found), np.int64)))
        rare = 1
        while len(keys) > most:
            keys, counts = keys[counts > rare], counts[counts > rare]
            rare += 1
    return keys, counts


def _merge(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each key once, sorted, with the sum of its counts."""
    if not len(keys):
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[first], np.add.reduceat(counts[order], first)


def _characters(keys: np.ndarray, counts: np.ndarray, fewest: int) -> np.ndarray:
    """The code point of each symbol: those that have a meaning, then all that are frequent enough, in order."""
    codes, places = np.unique(keys & MASK, return_inverse=True)
    seen = np.bincount(places, counts)
    frequent = codes[(seen >= fewest) & ~np.isin(codes, RUN_CODES)]
    if len(frequent) > MOST_CHARACTERS:
        bound = np.sort(seen)[-MOST_CHARACTERS]
        frequent = codes[(seen > bound) & ~np.isin(codes, RUN_CODES)]
    return np.concatenate([[0, 0], RUN_CODES, frequent]).astype(np.uint32)


def _to_symbols(keys: np.ndarray, counts: np.ndarray, characters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same trigrams as symbols, three times 16 bits."""
    table = np.full(1 << BITS, UNKNOWN, np.uint64)
    table[characters[SPACE:]] = np.arange(SPACE, len(characters))
    table[START_CODE] = START
    parts = (table[(keys >> np.uint64(shift) & MASK).astype(np.int64)] for shift in (2 * BITS, BITS, 0))
    first, second, third = parts
    return _merge(first << 32 | second << 16 | third, counts)


def _estimate(keys: np.ndarray, counts: np.ndarray, characters: np.ndarray, most: int) -> Parts:
    """Modified Kneser-Ney: the lower orders are counted by how many symbols stand before them, not how often."""
    number = len(characters)
    keys_2, places = np.unique(keys & 0xFFFFFFFF, return_inverse=True)
    keys_2 = np.append(np.uint64(START << 16 | START), keys_2)  # a context, though never seen as a bigram
    order = np.argsort(keys_2)
    keys_2, rank = keys_2[order], np.argsort(order)
    places = rank[places + 1]
    spread = np.bincount(places, minlength=len(keys_2))
    first, last = (keys_2 >> 16).astype(np.int64), (keys_2 & 0xFFFF).astype(np.int64)
    counts_1 = np.bincount(last[spread > 0], minlength=number)
    context = np.searchsorted(keys_2, keys >> 16)

    shares_2 = _shares(spread, first, number) * (last != UNKNOWN)
    shares_3 = _shares(counts, context, len(keys_2)) * (keys & 0xFFFF != UNKNOWN)
    p_1 = unigram_probabilities(counts_1)
    lower_2 = (1 - np.bincount(first, shares_2, number))[first] * np.maximum(p_1[last], TINY)
    lower_3 = (1 - np.bincount(context, shares_3, len(keys_2)))[context] * (lower_2 + shares_2)[places]
    kept_2, kept_3 = shares_2 > 0, shares_3 > 0
    if most:
        gains_2 = np.bincount(places, counts, len(keys_2)) * np.log1p(shares_2 / lower_2)
        gains_3 = counts * np.log1p(shares_3 / lower_3)
        bound = np.sort(np.concatenate([gains_2, gains_3]))[::-1][: most + 1][-1]
        kept_2, kept_3 = gains_2 > bound, gains_3 > bound
    kept_2[context[kept_3]] = True  # what trigrams begin with
    return Parts(
        characters=characters,
        folds=np.zeros((0, 2), np.uint32),
        counts=counts_1.astype(np.uint32),
        fans_2=np.bincount(first[kept_2], minlength=number).astype(np.uint32),
        symbols_2=last[kept_2].astype(np.uint16),
        shares_2=pack_shares(shares_2[kept_2]),
        fans_3=np.bincount(context[kept_3], minlength=len(keys_2))[kept_2].astype(np.uint32),
        symbols_3=(keys[kept_3] & 0xFFFF).astype(np.uint16),
        shares_3=pack_shares(shares_3[kept_3]),
    )


def _shares(counts: np.ndarray, context: np.ndarray, contexts: int) -> np.ndarray:
    """What each n-gram takes of its context: its count less a discount, by all counts of the context."""
    number = [int((counts == count).sum()) for count in (1, 2, 3, 4)]
    discounts = np.array([0.0, 0.5, 0.75, 0.9])  # where too little is known to estimate them
    if all(number):
        base = number[0] / (number[0] + 2 * number[1])
        estimated = [count - (count + 1) * base * number[count] / number[count - 1] for count in (1, 2, 3)]
        discounts[1:] = np.clip(estimated, 0.1, [0.95, 1.9, 2.85])
    sums = np.bincount(context, counts, contexts)
    return (counts - discounts[np.minimum(counts, 3)]) / sums[context]
