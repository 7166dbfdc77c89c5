"""A trigram model of characters: what a file of it holds, and how it scores text.

Why a trigram: three characters are about two words, which is enough to tell fluent text from garbled. Why interpolated
Kneser-Ney (`train.py`): it is the best smoothing for little training text, and it stays a proper distribution when rare
n-grams are left out, because what they took of their context's probability goes to the lower order. Stupid backoff
would be as quick, but its scores add up to nothing fixed, and a threshold would not carry over to another model.

What is counted are symbols. A run of spaces, of digits or of Latin letters is one symbol, so that a product number
does not outweigh a sentence. Traditional characters count as their simplified forms and full-width punctuation as that
of ASCII, by a table in the file, so that a text scores the same in either script. All characters that a model does not
know share one symbol.

Each n-gram has a share: what it takes of its context's probability beyond the lower order.

    P(w | u v) = share(u v w) + rest(u v) * P(w | v)        rest(u v) = 1 - the sum of share(u v *)

So the rests are not stored but follow, and rounded shares still make distributions that sum to 1. N-grams are found in
a hash table, a window of text at a time. Logarithms are kept as integers whose sums are exact: a text scores the same
alone, in any batch and, but for the last bit, on any machine.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from m6.config import UserError
from m6.run import write_atomic

UNKNOWN, START, SPACE, DIGIT, LATIN = range(5)  # symbols with a meaning; the other characters follow
UNKNOWN_CHARACTERS = 20_000  # that an unknown symbol may stand for; about a block of Chinese characters
SHARE_STEPS = 8  # steps of a stored share in a factor of two
NO_SHARE = 255  # stored for a share of 0
LOG_STEPS = 2.0**22  # steps of a stored logarithm in a factor of e
WINDOW = 1 << 15  # symbols that are looked up at once: what is at hand stays in the cache
BATCH = 1 << 20  # characters that are turned to symbols at once
NO_KEY = np.uint64(2**64 - 1)
HASHES = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd multipliers of well mixed bits
ROUNDS = 500  # to find a slot for all keys; some twenty are enough as a rule
TRIGRAM = np.uint64(1 << 32)  # keys from here on are of trigrams
STARTS = np.array([START, START], np.uint16)


class HashTable:
    """Rows by 64-bit key, asked for many keys at once. A key stands in one of two slots (cuckoo hashing), so a question
    is a fixed number of array operations, be it for one key or for thousands."""

    def __init__(self, keys: np.ndarray) -> None:
        """Row i is that of `keys[i]`, uint64 [N]; keys are unique and none is `NO_KEY`."""
        bits = max(4, (2 * len(keys)).bit_length())
        while (table := self._fill(keys, bits)) is None:
            bits += 1
        self._rows = np.where(table < 0, np.int32(len(keys)), table)
        self._keys = np.append(keys, NO_KEY)[self._rows]

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The row of each key, int32 [N]; the number of rows for a key that has none."""
        first, second = self._slots(keys)
        slots = np.where(self._keys[first] == keys, first, second)
        return np.where(self._keys[slots] == keys, self._rows[slots], self._end)

    def _fill(self, keys: np.ndarray, bits: int) -> np.ndarray | None:
        """The row in each slot, or -1; None if not all keys find one."""
        self._shift, self._end = np.uint64(64 - bits), np.int32(len(keys))
        first, second = self._slots(keys)
        slots, both = first.copy(), first + second
        table = np.full(1 << bits, -1, np.int32)
        pending = np.arange(len(keys), dtype=np.int32)
        for _ in range(ROUNDS):
            wanted = slots[pending]
            thrown_out = table[wanted]
            table[wanted] = pending  # of several for one slot, one stays
            thrown_out = np.unique(thrown_out[thrown_out >= 0])
            pending = np.concatenate([pending[table[wanted] != pending], thrown_out])
            if not len(pending):
                return table
            slots[pending] = both[pending] - slots[pending]  # to the other one
        return None

    def _slots(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (keys * HASHES[0] >> self._shift).view(np.int64), (keys * HASHES[1] >> self._shift).view(np.int64)


class Parts(NamedTuple):
    """The arrays of a model file: V symbols, B bigrams, T trigrams. N-grams stand in the order of their symbols; none
    ends in UNKNOWN."""

    characters: np.ndarray  # uint32 [V]: the code point of each symbol; 0 for UNKNOWN and START
    folds: np.ndarray  # uint32 [F, 2]: code points, and the ones of `characters` that they count as
    counts: np.ndarray  # uint32 [V]: after how many other symbols each is seen
    fans_2: np.ndarray  # uint32 [V]: how many bigrams begin with each symbol
    symbols_2: np.ndarray  # uint16 [B]: their last symbols
    shares_2: np.ndarray  # uint8 [B]: their shares, in steps
    fans_3: np.ndarray  # uint32 [B]: how many trigrams begin with each bigram
    symbols_3: np.ndarray  # uint16 [T]: their last symbols
    shares_3: np.ndarray  # uint8 [T]: their shares, in steps


class FluencyModel:
    """A model that is ready to score; `parts` is what a file of it holds."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        number = len(parts.characters)
        self._table = _symbol_table(parts)
        self._runs = np.isin(np.arange(number), (SPACE, DIGIT, LATIN))
        first = np.repeat(np.arange(number), parts.fans_2)
        context = np.repeat(np.arange(len(first)), parts.fans_3)
        keys_2 = first.astype(np.uint64) << 16 | parts.symbols_2
        keys_3 = (keys_2[context] << 16 | parts.symbols_3) + TRIGRAM
        self._ngrams = HashTable(np.concatenate([keys_2, keys_3]))

        p_1 = unigram_probabilities(parts.counts)
        shares_2, shares_3 = unpack_shares(parts.shares_2), unpack_shares(parts.shares_3)
        rest_2 = 1 - np.bincount(first, shares_2, number)
        rest_3 = 1 - np.bincount(context, shares_3, len(first))
        p_2 = shares_2 + rest_2[first] * p_1[parts.symbols_2]
        lower = rest_2[parts.symbols_2[context]] * p_1[parts.symbols_3]
        row = np.minimum(self._ngrams.find((keys_3 - TRIGRAM) & 0xFFFFFFFF), len(first))
        p_3 = shares_3 + rest_3[context] * np.where(row < len(first), np.append(p_2, 0)[row], lower)
        # An n-gram that is not there has the row after the last one.
        self._logs_1, self._logs = _logarithms(p_1), _logarithms(np.concatenate([p_2, p_3, [1]]))
        self._rests_2 = _logarithms(rest_2)
        self._rests_3 = _logarithms(np.concatenate([rest_3, np.ones(len(p_3) + 1)]))

    def perplexities(self, texts: Sequence[str]) -> np.ndarray:
        """The perplexity of each text, float64 [N]; infinite for a text without characters."""
        if len(texts) == 1 and 0 < len(texts[0]) <= WINDOW:  # the same with less ado, for those who have one at a time
            symbols = self._table[_code_points(texts[0])]
            stream = np.concatenate([STARTS, symbols[_kept(symbols, self._runs)]])
            return _perplexities(self.log_probabilities(stream).sum(keepdims=True, dtype=np.int64), len(stream) - 2)
        return np.concatenate([self._batch(batch) for batch in batches(texts, BATCH)]) if texts else np.zeros(0)

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Of each symbol but the first two after the two before it, in steps, int32 [M - 2]."""
        symbols = stream.astype(np.uint64)
        bigrams = symbols[:-1] << 16 | symbols[1:]
        trigrams = (bigrams[:-1] << 16 | symbols[2:]) + TRIGRAM
        rows = self._ngrams.find(np.concatenate([bigrams, trigrams]))
        before, after, whole = rows[: len(stream) - 2], rows[1 : len(bigrams)], rows[len(bigrams) :]
        end = len(self._logs) - 1
        unseen = self._rests_2[stream[1:-1]] + self._logs_1[stream[2:]]
        lower = self._rests_3[before] + np.where(after < end, self._logs[after], unseen)
        return np.where(whole < end, self._logs[whole], lower)

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        stream, starts = to_stream(texts, self._table, self._runs, START)
        sums = np.zeros(len(stream) + 1, np.int64)
        for begin in range(2, len(stream), WINDOW):
            window = self.log_probabilities(stream[begin - 2 : begin + WINDOW])
            sums[begin + 1 : begin + 1 + len(window)] = window
        np.cumsum(sums, out=sums)
        return _perplexities(sums[starts[1:]] - sums[starts[:-1] + 2], np.diff(starts) - 2)

    def save(self, path: Path | str) -> None:
        """Write the file: the same bytes for the same model. It is whole or not there."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:  # zlib's output differs between its forks
            for name, array in self.parts._asdict().items():
                info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                info.create_system, info.compress_type = 3, zipfile.ZIP_BZIP2
                with archive.open(info, "w") as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        write_atomic(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> FluencyModel:
        """The model of a file. UserError if it is missing, damaged or no model."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                parts = Parts(**{name: arrays[name] for name in Parts._fields})
        except FileNotFoundError:
            raise UserError(f"fluency model {str(path)!r}: there is no such file") from None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, AttributeError):
            made_by = "`python -m m6.corpus.text.fluency`"
            raise UserError(f"fluency model {str(path)!r}: no whole file of {made_by}") from None
        _check(parts, path)
        return cls(parts)


def to_stream(texts: Sequence[str], table: np.ndarray, runs: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The symbols of all texts by a table of code points, each text after two times `start`, and where each begins (its
    first `start`), with the end of the last one: [M] in the table's dtype, int64 [N + 1]. `runs` says of each symbol
    whether several in a row are one."""
    symbols = table[_code_points("".join(texts))]
    kept = _kept(symbols, runs)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths)
    kept[(ends - lengths)[lengths > 0]] = True  # a run does not go on in the next text
    number = np.append(0, np.cumsum(kept))
    starts = np.append(0, number[ends]) + 2 * np.arange(len(texts) + 1)
    stream = np.full(starts[-1], start, table.dtype)
    inside = np.ones(len(stream), np.bool_)
    inside[starts[:-1]] = inside[starts[:-1] + 1] = False
    stream[inside] = symbols[kept]
    return stream, starts


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _kept(symbols: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Which symbols do not go on with a run, bool."""
    kept = np.ones(len(symbols), np.bool_)
    kept[1:] = (symbols[1:] != symbols[:-1]) | ~runs[symbols[1:]]
    return kept


def _perplexities(logs: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Of texts with these sums of logarithms in steps and numbers of symbols."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, np.exp(-logs / (counts * LOG_STEPS)), np.inf)


def batches(texts: Iterable[str], characters: int) -> Iterator[list[str]]:
    """Texts in order, in lists of about so many characters."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def unigram_probabilities(counts: np.ndarray) -> np.ndarray:
    """Of a character of each symbol after any others, float64 [V]. Each symbol is counted once more than it was seen,
    but START, which never is; an unknown character has its part of what UNKNOWN has."""
    more = np.where(np.arange(len(counts)) == START, 0.0, counts + 1.0)
    more /= more.sum()
    more[UNKNOWN] /= UNKNOWN_CHARACTERS
    return more


def pack_shares(shares: np.ndarray) -> np.ndarray:
    """Shares in steps, uint8: rounded down, so that a context's stay below 1."""
    with np.errstate(divide="ignore"):
        steps = np.ceil(-SHARE_STEPS * np.log2(shares) - 1e-9)
    return np.where(steps < NO_SHARE, steps, NO_SHARE).astype(np.uint8)


def unpack_shares(steps: np.ndarray) -> np.ndarray:
    """Shares as float64."""
    return np.where(steps == NO_SHARE, 0, np.exp2(-steps.astype(np.float64) / SHARE_STEPS))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.rint(np.log(np.maximum(probabilities, 1e-30)) * LOG_STEPS).astype(np.int32)


def _symbol_table(parts: Parts) -> np.ndarray:
    """The symbol of each code point, uint16."""
    table = np.full(sys.maxunicode + 1, UNKNOWN, np.uint16)
    table[parts.characters[SPACE:]] = np.arange(SPACE, len(parts.characters), dtype=np.uint16)
    table[parts.folds[:, 0]] = table[parts.folds[:, 1]]
    return table


def _check(parts: Parts, path: Path | str) -> None:
    """UserError unless the arrays fit together: a file that was changed must not be read beyond its ends."""
    number, bigrams, trigrams = len(parts.characters), len(parts.symbols_2), len(parts.symbols_3)
    fits = (
        LATIN < number <= 1 << 16
        and len(parts.counts) == len(parts.fans_2) == number
        and len(parts.shares_2) == len(parts.fans_3) == bigrams == parts.fans_2.sum()
        and len(parts.shares_3) == trigrams == parts.fans_3.sum()
        and parts.folds.ndim == 2
        and max(parts.characters.max(), parts.folds.max(initial=0)) <= sys.maxunicode
        and max(parts.symbols_2.max(initial=0), parts.symbols_3.max(initial=0)) < number
    )
    if not fits:
        raise UserError(f"fluency model {str(path)!r}: its arrays do not fit together; train it again")
