"""Sources: each file turns one kind of raw data into Documents.

A source `m6/corpus/sources/<kind>.py` has two functions; `config` is the config of that kind (`m6/corpus/config`):

    parts(name: str, config: <Kind>Config) -> list[Part]
        How the work of the source `name` of a recipe is cut into parts that can be done on their own, on any machine,
        in any order. It raises UserError for what makes the whole source impossible (a missing file, an unknown
        category), and it is quick: it lists and measures files, it does not read them.
    read(part: Part, config: <Kind>Config, seed: int) -> Iterator[Document | Drop]
        The Documents of one part, the same on every call, one at a time: never a whole file in memory. What cannot be
        read is a Drop that says where, never an exception. How the work is cut does not change the Documents nor
        their order, so a record that begins in a part belongs to that part.

Pictures may be given as they were found, in any size: the pipeline applies the rules and brings them to the training
size. A picture without bytes but with a `url` is fetched by the pipeline if the recipe says so.
"""

from __future__ import annotations

import hashlib
import importlib
from types import ModuleType
from typing import NamedTuple


class Part(NamedTuple):
    """A piece of the work of a source: the rows or bytes `start` to `stop` - 1."""

    source: str  # its name in the recipe
    start: int
    stop: int
    of: str = ""  # what they are rows or bytes of, if there is more than one: a file, a split


def reader(kind: str) -> ModuleType:
    """The module that reads a kind of source."""
    return importlib.import_module(f"m6.corpus.sources.{kind}")


def cut(name: str, count: int, size: int, of: str = "") -> list[Part]:
    """Parts of at most `size` rows or bytes that together cover `count`."""
    return [Part(name, start, min(start + size, count), of) for start in range(0, count, size)]


def split_by_hash(key: str, heldout_share: float) -> str:
    """ "heldout" for that share of all keys, else "train"; the same key falls on the same side everywhere."""
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "heldout" if position < heldout_share else "train"
