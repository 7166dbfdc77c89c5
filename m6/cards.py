"""Reproduction cards: how a table or a picture of the docs is made again, what has to come out, and how near.

In: the TOML files of docs/reproduce, one a card, and a folder in which a card's commands have left their files. Out:
`Card`s, checked, and a `Finding` for each figure: what was expected, what was found, whether it is near enough.
"""

from __future__ import annotations

import json
import math
import statistics
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias, TypeGuard

from pydantic import model_validator

from m6.config import Config, NotNegative, Positive, UserError, Whole, nearest

CARDS = Path(__file__).parents[1] / "docs" / "reproduce"
Value: TypeAlias = bool | int | float | str


class InTwo(Config):
    """The same in both languages."""

    en: str
    zh: str


class Place(Config):
    """Where a figure stands in a file of JSON."""

    rows: str = ""
    """The key of the list of which `row` tells an item; without one the file is the list."""
    row: dict[str, Value] = {}
    """Fields that tell one item of a list from the others."""
    key: str = ""
    """With dots; * stands for every item of a list, of which one figure is taken. Without a key the file is meant."""


class Expect(Place):
    """A figure that has to come out. Without a value, words and bounds any finite number will do."""

    file: str | tuple[str, ...]
    """In the folder; with ? and * if one file alone fits. Of several files one figure is taken."""
    take: Literal["mean", "median"] = "mean"
    """Of several figures."""
    value: Value | None = None
    absolute: NotNegative = 0.0
    """Tolerance: how far from the value it may be."""
    relative: NotNegative = 0.0
    """Tolerance as a share of the value."""
    at_least: float | None = None
    at_most: float | None = None
    says: str = ""
    """Words that stand in a text."""
    committed: Place | None = None
    """Where it stands in the committed results, if it is elsewhere there."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.absolute or self.relative) and not _is_number(self.value):
            raise ValueError("a tolerance needs a value that is a number")
        return self

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return " ".join([*map(str, self.row.values()), self.key]).strip() or "is there"

    @property
    def files(self) -> tuple[str, ...]:
        """As many as there are."""
        return (self.file,) if isinstance(self.file, str) else self.file

    @property
    def tolerance(self) -> float:
        """How far from a number it may be."""
        return max(self.absolute, self.relative * abs(self.value) if _is_number(self.value) else 0.0)

    def holds(self, found: object) -> bool:
        """Whether what was found is what was expected."""
        if self.says:
            return isinstance(found, str) and self.says in found
        if not _is_number(found) or not math.isfinite(found):
            return found is not None and found == self.value and type(found) is type(self.value)
        if self.value is not None:
            near = _is_number(self.value) and abs(found - self.value) <= self.tolerance * (1 + 1e-9)
            if not near:
                return False
        low, high = self.at_least, self.at_most
        return (low is None or found >= low) and (high is None or found <= high)


class Smoke(Config):
    """The same in seconds: other commands, and what has to come out of them."""

    commands: tuple[str, ...]
    expect: tuple[Expect, ...]


class Card(Config):
    """What makes a table or a picture again."""

    title: InTwo
    shows: InTwo
    """The page that shows it, with the heading, from the root of the repository."""
    commands: tuple[str, ...]
    """Words of m6 or python, perhaps with `> FILE` at the end; {out} is the folder of the reproduction."""
    hardware: str
    """On which the expected values were measured."""
    minutes: Positive
    """That it took there, or may take by estimate."""
    seed: Whole | tuple[Whole, ...]
    note: InTwo | None = None
    """What else is to be known: how tolerances were chosen, what differs between machines."""
    results: str = ""
    """The file of committed results that the expected values are from."""
    memory_gib: NotNegative = 0.0
    disk_gib: NotNegative = 0.0
    programs: tuple[str, ...] = ()
    """Programs that have to be on the path."""
    modules: tuple[str, ...] = ()
    """Modules of Python that have to be installed."""
    expect: tuple[Expect, ...]
    smoke: Smoke

    @model_validator(mode="after")
    def _commands_are_ours(self) -> Self:
        for command in (*self.commands, *self.smoke.commands):
            if command.split(" ")[0] not in ("m6", "python"):
                raise ValueError(f"{command!r} is no command of m6 or python")
        return self


class Finding(NamedTuple):
    """An expected figure and what was found in its place: a value, or in words why there is none."""

    expect: Expect
    found: object
    ok: bool


def names() -> list[str]:
    """The cards that are there. UserError without a folder of them, as in an installed package."""
    if not CARDS.is_dir():
        raise UserError("no cards are here; they come with a checkout of the repository, run m6 reproduce there")
    return sorted(path.stem for path in CARDS.glob("*.toml"))


def read(name: str) -> Card:
    """The card of this name. UserError for an unknown one, and for one that is written wrongly."""
    if name not in (known := names()):
        raise UserError(f"no card {name!r}{nearest(name, known)}")
    path = CARDS / f"{name}.toml"
    try:
        return Card(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UserError) as error:
        raise UserError(f"{path}: {error}") from None


def compare(expected: Sequence[Expect], folder: Path) -> list[Finding]:
    """Each expected figure beside what stands in the folder."""
    findings = []
    for expect in expected:
        try:
            found = figure(expect, folder)
        except LookupError as error:
            findings.append(Finding(expect, str(error.args[0]), False))
        else:
            findings.append(Finding(expect, found, expect.holds(found) if expect.key else bool(found)))
    return findings


def figure(expect: Expect, folder: Path) -> object:
    """What stands in the place of an expected figure. LookupError, with the reason, where there is nothing."""
    if not expect.key:
        return all(_only(folder, file).stat().st_size > 0 for file in expect.files)
    found: list[Any] = []
    for file in expect.files:
        found += lookup(_read(_only(folder, file)), expect)
    if len(found) == 1:
        return found[0]
    if not all(map(_is_number, found)):
        raise LookupError("no numbers to take one of")
    return statistics.mean(found) if expect.take == "mean" else statistics.median(found)


def lookup(data: Any, place: Place) -> list[Any]:
    """The values at a place: several where its key has a star. LookupError, with the reason, if there are none."""
    if place.row:
        items = (_values(data, place.rows) or [[]])[0]
        fitting = [item for item in items if all(item.get(name) == value for name, value in place.row.items())]
        if len(fitting) != 1:
            raise LookupError(f"{len(fitting)} rows" if fitting else "no such row")
        data = fitting[0]
    found = _values(data, place.key)
    if not found:
        raise LookupError("no such key")
    return found


def _values(data: Any, key: str) -> list[Any]:
    """A key of a dict may have dots of its own; the longest one that is there is meant."""
    if not key:
        return [data]
    parts = key.split(".")
    if isinstance(data, list):
        items = data if parts[0] == "*" else data[int(parts[0]) :][:1] if parts[0].isdecimal() else []
        return [value for item in items for value in _values(item, ".".join(parts[1:]))]
    if isinstance(data, dict):
        for cut in range(len(parts), 0, -1):
            if (name := ".".join(parts[:cut])) in data:
                return _values(data[name], ".".join(parts[cut:]))
    return []


def _only(folder: Path, name: str) -> Path:
    """The one file of this name or pattern."""
    found = sorted(folder.glob(name))
    if len(found) != 1:
        raise LookupError("several files" if found else "no such file")
    return found[0]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise LookupError("not JSON") from None


def _is_number(value: object) -> TypeGuard[int | float]:
    """Truth is no number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
