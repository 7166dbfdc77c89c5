"""Contamination: Documents that contain texts of an evaluation set, which a model must not have read before.

In: evaluation files (JSON lines, CSV, TSV, Parquet), of which every text of every record counts: questions, answers,
captions. Out: for a Document, the evaluation text that was found in it. Compared are letters (`minhash.letter_codes`),
so other punctuation, spacing, case or script does not hide a text. A text is found if it shares a run of
`against_ngram` letters; one that is shorter if it stands there whole.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.config import UserError
from m6.corpus.config import DuplicatesConfig
from m6.corpus.dedup import minhash
from m6.corpus.read import files

SHORTEST = 8  # letters: what is shorter (yes, Beijing, a date) may stand in any text
_FIELD = "corpus.duplicates.against"
_TABLE_BITS = 22


@functools.cache
def against(config: DuplicatesConfig) -> Against | None:
    """The evaluation texts of a config, read once in a process; None if it names none."""
    return Against(config.against, config.against_ngram) if config.against else None


class Against:
    """The evaluation texts of some files. UserError for a file that is missing, of no known kind, or without texts."""

    def __init__(self, paths: Sequence[str], ngram: int) -> None:
        self._texts: list[str] = []
        runs: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for path in files.find(tuple(paths), tuple(_READERS), _FIELD):
            before = len(self._texts)
            for text in dict.fromkeys(_texts_of(path)):
                codes, counts = minhash.letter_codes([text])
                length = min(ngram, len(codes))
                if length >= min(SHORTEST, ngram):
                    hashes, _ = minhash.hash_ngrams(codes, counts, length)
                    runs.setdefault(length, []).append((hashes, np.full(len(hashes), len(self._texts))))
                    self._texts.append(text)
            if len(self._texts) == before:
                raise UserError(f"{_FIELD}: {path}: no text of {SHORTEST} or more letters in it; name another file")
        self._runs = {length: _Runs(pairs) for length, pairs in sorted(runs.items(), reverse=True)}

    def hit(self, text: str) -> str | None:
        """The evaluation text that was found in `text`, or None; of several that of the longest run, then the first."""
        codes, counts = minhash.letter_codes([text])
        for length, runs in self._runs.items():
            hashes, _ = minhash.hash_ngrams(codes, counts, length)
            number = runs.first(hashes)
            if number is not None:
                return self._texts[number]
        return None


class _Runs:
    """Hashes of runs of letters of one length, and the evaluation text each was first found in."""

    def __init__(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
        hashes, first = np.unique(np.concatenate([hashes for hashes, _ in pairs]), return_index=True)
        self._hashes = hashes
        self._numbers = np.concatenate([numbers for _, numbers in pairs])[first]
        # Most runs of a text are in no evaluation set; one look into a table tells so, a search is slower.
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        self._table[self._place(hashes)] = True

    def first(self, hashes: np.ndarray) -> int | None:
        """The number of the first evaluation text that has one of these hashes."""
        likely = hashes[self._table[self._place(hashes)]]
        place = np.minimum(np.searchsorted(self._hashes, likely), len(self._hashes) - 1)
        found = self._numbers[place[self._hashes[place] == likely]]
        return int(found.min()) if len(found) else None

    @staticmethod
    def _place(hashes: np.ndarray) -> np.ndarray:
        return (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.int64)


def _texts_of(path: str) -> Iterator[str]:
    """All texts of all records of a file."""
    plain = path.partition("?")[0].lower().removesuffix(files.compression(path))
    read = next((read for ending, read in _READERS.items() if plain.endswith(ending)), None)
    if read is None:
        raise UserError(f"{_FIELD}: {path}: not a kind of file that is read; give one of {' '.join(_READERS)}")
    try:
        yield from read(path)
    except (*files.READ_ERRORS, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise UserError(f"{_FIELD}: {path}: cannot be read: {' '.join(str(error).split())}") from error


def _json_lines(path: str) -> Iterator[str]:
    for line in _lines(path):
        if line.strip():
            yield from _strings(json.loads(line))


def _json(path: str) -> Iterator[str]:
    """One JSON value, or one a line under the wrong name."""
    content = "".join(_lines(path))
    try:
        value = json.loads(content)
    except ValueError:
        yield from _json_lines(path)
    else:
        yield from _strings(value)


def _table(path: str, delimiter: str) -> Iterator[str]:
    for row in csv.reader(_lines(path), delimiter=delimiter):
        yield from _strings(row)


def _parquet(path: str) -> Iterator[str]:
    with files.open_file(path) as stream, pq.ParquetFile(pa.PythonFile(stream, "r")) as file:
        for batch in file.iter_batches(256):
            yield from _strings(batch.to_pylist())


_READERS: dict[str, Callable[[str], Iterator[str]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": functools.partial(_table, delimiter=","),
    ".tsv": functools.partial(_table, delimiter="\t"),
    ".parquet": _parquet,
}


def _lines(path: str) -> Iterator[str]:
    with io.TextIOWrapper(files.open_text_bytes(path), encoding="utf-8-sig", newline="") as stream:
        yield from stream


def _strings(value: Any) -> Iterator[str]:
    """The texts in a record, whatever it is made of. A long text without any space or Chinese is an encoded picture."""
    if isinstance(value, str):
        if len(value) < 1_000 or not value.isascii() or " " in value:
            yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)
