"""Formats of checkpoints: the number that state.json has, and a function for each format before it.

In: what a state.json says, of any format. Out: what one of today's would say; the files stay as they are. A function
makes of one format the next, and they are called one after the other, so that each is written once and never changed.
What is newer than this version is refused: a guess at it could train on wrong weights. docs/en/versions.md has the
history of formats and how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from m6 import __version__
from m6.config import UserError

FORMAT = 2
"""Of the checkpoints that are written."""


def _from_1(state: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had no number, and some of its checkpoints do not tell what they were trained beside. None of it was
    packed (`m6.model.packed`)."""
    return {"beside": {}, **state}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From each format to the next."""


def migrated(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a state.json of any format says, as one of today's would. UserError if it is newer.

    path: of the file, for the message.
    """
    found = state.get("format", 1)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise UserError(f"{path}: {found!r} is no format of a checkpoint, which are 1 to {FORMAT}")
    if found > FORMAT:
        raise UserError(
            f"{path}: format {found} is of a newer Open M6, this one ({__version__}) reads 1 to {FORMAT};"
            " pip install --upgrade open-m6"
        )
    for number in range(found, FORMAT):
        state = {**MIGRATIONS[number](state), "format": number + 1}
    return state
