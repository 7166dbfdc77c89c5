"""Fields of a record: checked values out of one line of a data file, for the tasks' `read`.

What is wrong with a field raises ValueError, which names the field, what is there and what is allowed; who reads the
file adds its name and the line. `null` says that an answer is not told, as in the test files of public contests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m6.corpus.document import sound
from m6.tasks.example import PictureAt, Record

SHOWN = 40  # characters of a wrong value


def text(record: Record, name: str) -> str:
    """A text that says something, without blanks around it."""
    if name not in record:
        raise ValueError(f'no field "{name}"')
    return _said(record[name], name)


def optional_text(record: Record, name: str) -> str:
    """The same, or "" where it is missing or null."""
    return text(record, name) if record.get(name) is not None else ""


def several(record: Record, name: str, *, least: int = 1) -> tuple[str, ...]:
    """A list of texts, each once, in order; one text alone stands for a list of it."""
    if name not in record:
        raise ValueError(f'no field "{name}"')
    values = record[name]
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list | tuple):
        raise ValueError(f'field "{name}": {shown(values)} is no list of texts')
    if len(values) < least:
        raise ValueError(f'field "{name}": a list of {len(values)}; it needs at least {least}')
    return tuple(dict.fromkeys(_said(value, name) for value in values))


def told(record: Record, one: str, many: str) -> tuple[str, ...]:
    """The right answers, from the field of `one` or the list of `many`; none if that is null, not told."""
    name = one_of(record, one, many)
    return () if record[name] is None else several(record, name)


def one_of(record: Record, one: str, other: str) -> str:
    """Which of two fields, of which there has to be one, is given."""
    given = [name for name in (one, other) if name in record]
    if not given:
        raise ValueError(f'no field "{one}" or "{other}"')
    if len(given) > 1:
        raise ValueError(f'fields "{one}" and "{other}": give one of them')
    return given[0]


def choices(record: Record, answers: tuple[str, ...]) -> tuple[str, ...]:
    """What may be answered, if the record lists it. The right answer has to be among them."""
    if record.get("choices") is None:
        return ()
    found = several(record, "choices", least=2)
    if answers and not set(answers) & set(found):
        raise ValueError(f'field "choices": the answer {shown(answers[0])} is none of {", ".join(found)}')
    return found


def picture(record: Record, folder: Path) -> PictureAt:
    """Where the picture is that "image" names, by a path from `folder`. It has to be there; whether it can be decoded
    shows when it is used."""
    value = record.get("image")
    if isinstance(value, PictureAt):  # readers of public formats know where it is
        return value
    name = text(record, "image")
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise ValueError(f'field "image": no file {shown(name)} in {folder}')
    return PictureAt(Path(path))


def optional_picture(record: Record, folder: Path) -> PictureAt | None:
    """The same, or None where "image" is missing or null."""
    return picture(record, folder) if record.get("image") is not None else None


def attributes(record: Record, name: str) -> dict[str, str]:
    """An object of texts and numbers, as texts; empty where it is missing or null."""
    values = record.get(name)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError(f'field "{name}": {shown(values)} is no object of names and values')
    return {_said(key, name): _said(_plain(value), name) for key, value in values.items()}


def label(record: Record, name: str) -> str:
    """A label as a text; it may be written as a number."""
    if name not in record:
        raise ValueError(f'no field "{name}"')
    return _said(_plain(record[name]), name)


def shown(value: Any) -> str:
    """A value as a message shows it."""
    whole = repr(value)
    return whole if len(whole) <= SHOWN else whole[: SHOWN - 3] + "..."


def _said(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f'field "{name}": {shown(value)} is no text')
    stripped = value.strip()
    if not stripped:
        raise ValueError(f'field "{name}": an empty text')
    return sound(stripped)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
