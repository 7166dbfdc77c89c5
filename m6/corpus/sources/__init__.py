"""Sources: each file turns one kind of raw data into Documents.

A source `m6/corpus/sources/<name>.py` has two functions:

    parts(config: CorpusConfig) -> list[Part]
        How its work is cut into parts that can be done on their own, on any machine, in any order. It raises UserError
        for what makes the whole source impossible (a missing file, an unknown category).
    read(config: CorpusConfig, part: Part, seed: int) -> Iterator[Document | Drop]
        The Documents of one part, the same on every call. What cannot be read is a Drop, never an exception.

Pictures may be given as they were found, in any size: the pipeline applies the rules and brings them to the training
size. A recipe names the sources it wants; the thresholds of source `x` are in `CorpusConfig.x`, a `SourceConfig`.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from types import ModuleType
from typing import NamedTuple

from m6.config import UserError, nearest


class Part(NamedTuple):
    """A piece of the work of a source: the rows or bytes `start` to `stop` - 1."""

    source: str
    start: int
    stop: int
    of: str = ""  # what they are rows or bytes of, if there is more than one: a file, a split


def source(name: str) -> ModuleType:
    """The module of a source; UserError names the nearest if there is none."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in names:
        raise UserError(f"corpus.sources: no source {name!r}{nearest(name, names)}")
    return importlib.import_module(f"m6.corpus.sources.{name}")


def cut(name: str, count: int, size: int, of: str = "") -> list[Part]:
    """Parts of at most `size` rows or bytes that together cover `count`."""
    return [Part(name, start, min(start + size, count), of) for start in range(0, count, size)]


def split_by_hash(key: str, heldout_share: float) -> str:
    """ "heldout" for that share of all keys, else "train"; the same key falls on the same side everywhere."""
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "heldout" if position < heldout_share else "train"
