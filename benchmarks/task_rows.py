"""Rows of the task benchmark: a JSON file that grows by task, so that what was stopped goes on, and a table.

A row is one task, system, score and seed. `asked` names all that decides it, by which rows that stand already are told
from those of other settings.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from m6.config import UserError
from m6.run import write_atomic

Row = dict[str, Any]
LEGEND = (
    "In brackets the 95 % interval. + ours is higher, - lower than that on the same examples, with an interval of the "
    "difference that excludes zero. More is better but for bits, perplexity and what is copied."
)


class Rows:
    """The rows of a call; in a file too, if one is named, written whole after each task."""

    def __init__(self, path: Path | None) -> None:
        """UserError for a file that is there and holds no such rows."""
        self._path = path
        self._all: list[Row] = read(path) if path and path.exists() else []

    def of(self, asked: str) -> list[Row]:
        """Those that were measured with these settings."""
        return [row for row in self._all if row["asked"] == asked]

    def add(self, rows: Sequence[Row]) -> None:
        """Rows of one task and seed; those that stood for these, of other settings, go. UserError if the file cannot be
        written."""
        new = {(row["task"], row["seed"]) for row in rows}
        self._all = [row for row in self._all if (row["task"], row["seed"]) not in new] + list(rows)
        if self._path:
            try:
                write_atomic(self._path, json.dumps(self._all, ensure_ascii=False, indent=1) + "\n")
            except OSError as error:
                raise UserError(f"benchmarks: --json {self._path} cannot be written ({error})") from None


def read(path: Path) -> list[Row]:
    """UserError for a file that holds no rows of this benchmark."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if all({"asked", "task", "seed"} <= row.keys() for row in rows):
            return list(rows)
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    raise UserError(f"benchmarks: --json {path} is there and holds no rows of this benchmark; name another file")


def table(rows: Sequence[Row]) -> str:
    """A table for each task, a column a system: value, interval, and a mark where ours differs. Of several seeds the
    means, and a mark where they agree."""
    parts = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        systems = list(dict.fromkeys(row["system"] for row in own))
        lines = [f"| {task} | {' | '.join(systems)} |", "| --- " * (len(systems) + 1) + "|"]
        for score in dict.fromkeys(row["score"] for row in own):
            cells = [cell([row for row in own if (row["score"], row["system"]) == (score, name)]) for name in systems]
            lines.append(f"| {score} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, LEGEND])


def cell(rows: Collection[Row]) -> str:
    """One score of one system, from its rows by seed."""
    if not rows:
        return "-"
    value = f"{fmean(row['value'] for row in rows):.3f}"
    if all(row["low"] is not None for row in rows):
        value += f" ({fmean(row['low'] for row in rows):.3f} to {fmean(row['high'] for row in rows):.3f})"
    marks = {mark(row) for row in rows}
    return f"{value} {marks.pop()}".rstrip() if len(marks) == 1 else value


def mark(row: Row) -> str:
    """ "+" if ours is higher than this system for sure, "-" if lower, else nothing."""
    _, low, high = row.get("better") or (0.0, None, None)
    if low is None or high is None:
        return ""
    return "+" if low > 0 else "-" if high < 0 else ""
