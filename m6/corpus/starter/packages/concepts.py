"""Which side of the split a picture falls on: a concept that the bundled emoji hold out is held out everywhere.

In: what is written under a picture. The names of emoji in it are found from left to right, the longest first, so that
斑马 is a zebra and no horse. Other concepts are split by a hash of their name.
"""

from __future__ import annotations

import functools
import re

from m6.corpus.starter import emoji_rows
from m6.corpus.starter.packages import SPLIT_BY_HASH


def concept(text: str, otherwise: str) -> tuple[str, str]:
    """Group and split of a picture by the words under it: of an emoji if one is named that is held out, or if the
    words are its name alone; else the group `otherwise`, split by its hash."""
    rows = _by_name()
    named = [rows[name] for name in _names().findall(text)]
    for group, split in named:
        if split == "heldout":
            return group, split
    return rows.get(text, (otherwise, SPLIT_BY_HASH))


@functools.cache
def _by_name() -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["group"], row["split"]) for row in emoji_rows()}


@functools.cache
def _names() -> re.Pattern[str]:
    longest_first = sorted(_by_name(), key=lambda name: (-len(name), name))
    return re.compile("|".join(map(re.escape, longest_first)))
