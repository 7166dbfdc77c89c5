"""Flags for every field of a config: reads `--section.field value`, and prints the help of the fields.

In: the words of a command line and a config. Out: values by dotted name, which `Config.override` checks. There is no
list of flags to keep: fields, their help and their values come from the config classes. Why this is no library:
docs/decisions/0001-flags.md.
"""

from __future__ import annotations

import difflib
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from m6.config import Config, UserError


def split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words that stand alone, and the flags with their values: `--name value` or `--name=value`."""
    alone: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            alone.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise UserError(f"--{name}: give it a value")
            value = following
        flags[name.replace("-", "_")] = value
    return alone, flags


def values(flags: dict[str, str], config: Config, verb: str) -> dict[str, Any]:
    """Flags as values for `config.override`. Raises UserError for a flag that names no field, with the nearest one.

    Numbers stay text, which pydantic turns into the type of the field; a list or an object is given as JSON.
    """
    known = [name for name, _, _ in fields(config)]
    for name in flags:
        if not any(name == field or name.startswith(f"{field}.") for field in known):
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean --{close[0]}? " if close else ""
            raise UserError(f"--{name}: no such flag, {hint}`m6 {verb} --help` lists them")
    return {name: _value(name, text) for name, text in flags.items()}


def _value(name: str, text: str) -> Any:
    if text != "null" and not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"--{name}: {text!r} is not JSON ({error}); a list looks like [1, 2]") from None


def fields(config: Config, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Every field that a flag can set: its dotted name, its value and its help. A list of configs is one field."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from fields(value, f"{prefix}{name}.")
        elif isinstance(value, dict):  # of configs, by name
            yield prefix + name, list(value), field.description or ""
            for key, section in value.items():
                yield from fields(section, f"{prefix}{name}.{key}.")
        else:
            yield prefix + name, value, field.description or ""


def describe(config: Config, sections: Sequence[str]) -> str:
    """The help of the fields in these sections, and of the fields outside any section."""
    width = min(shutil.get_terminal_size().columns, 120)
    chosen = [item for item in fields(config) if item[0].split(".")[0] in sections or "." not in item[0]]
    shown = [(f"  --{name} {_short(value)}", text) for name, value, text in chosen]
    column = min(max((len(flag) for flag, _ in shown), default=0) + 2, 40)
    lines: list[str] = []
    for flag, text in shown:
        wrapped = textwrap.wrap(" ".join(text.split()), max(width - column, 30)) or [""]
        if len(flag) > column - 2:
            lines.append(flag)
            flag = ""
        lines.append(f"{flag:<{column}}{wrapped[0]}".rstrip())
        lines += [" " * column + line for line in wrapped[1:]]
    return "\n".join(lines)


def _short(value: Any) -> str:
    """A value as one would type it; a long one is cut."""
    if isinstance(value, tuple | list) and any(isinstance(item, Config) for item in value):
        return f"'[{len(value)} entries]'"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = f"'{text}'" if not text or " " in text or text.startswith(("[", "{")) else text
    return text if len(text) <= 40 else f"{text[:38]}…'"
