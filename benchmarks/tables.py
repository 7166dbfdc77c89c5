"""The page beside a file of results, in Markdown: a table of its rows, or whatever else the file holds, as it stands.

In: a `Result`. Out: text that is the same whenever it is made from the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bars import bar, missed
from benchmarks.layout import Result
from benchmarks.rows import Row
from m6 import cards

COLUMNS = (
    "key", "ours", "theirs", "ratio", "bar", "unit", "runs", "spread", "command", "seed", "hardware", "date", "note",
)  # fmt: skip
SCORE_COLUMNS = ("score", "value", "95 % interval", "trivial baseline")
WIDE = 30
"""Columns; a record with more is read from top to bottom."""
GUIDE = "../../docs/en/benchmarks.md"
CARDS = "../../docs/reproduce"


def page(result: Result) -> str:
    """The whole page of a file."""
    name, month = result.path.name, f"{result.month[:4]}-{result.month[4:]}"
    head = f"# {result.what}, {result.hardware}, {month}\n\nMade from [{name}]({name}) by"
    head += f" `python -m benchmarks --pages`; [the guide]({GUIDE}) says what is measured and how.\n\n"
    if made_by := _cards(name):
        head += f"Measured again, and held against this, by {made_by}.\n\n"
    if result.failed:
        return f"{head}Failed: {escaped(result.failed)}\n"
    body = table(COLUMNS, map(cells, result.rows)) if result.rows else shown(result.content)
    return f"{head}{body.strip()}\n"


def _cards(name: str) -> str:
    """The calls whose expected values are from this file, each with a link to its card."""
    found = [card for card in cards.names() if cards.read(card).results == name]
    return ", ".join(f"[`m6 reproduce {card}`]({CARDS}/{card}.toml)" for card in found)


def cells(row: Row) -> list[str]:
    """A row in the order of `COLUMNS`."""
    spread = " to ".join(map(figure, row["spread"]))
    plain = [row["unit"], figure(row["runs"]), spread, f"`{row['command']}`", str(row["seed"])]
    return [
        f"`{row['key']}`", figure(row["ours"]), theirs(row), ratio(row), told_bar(row),
        *plain, row["hardware"], row["date"], row["note"] or "-",
    ]  # fmt: skip


def label(row: Row) -> str:
    """The key, and the precision where a key is measured in two."""
    return f"{row['key']}, bfloat16" if "bfloat16" in row["command"] else row["key"]


def theirs(row: Row) -> str:
    """What it is measured beside, and its figure."""
    if row["peer"] is None:
        return f"not available: {row['peer_name']}" if row["peer_name"] else "-"
    return f"{figure(row['peer'])}, {row['peer_name']}" if row["peer_name"] else figure(row["peer"])


def ratio(row: Row) -> str:
    """How many times better ours is; of what has no peer there is none."""
    return "-" if row["peer"] is None else figure(row["ratio"])


def told_bar(row: Row) -> str:
    """The bar, and whether it is missed."""
    known = bar(row)
    if known is None:
        return "-"
    return f"{'at most ' * known.at_most}{figure(known.value)}{', missed' * missed(row)}"


def figure(value: float | None) -> str:
    """A number for people: four digits, large ones whole."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def table(columns: Sequence[str], lines: Any) -> str:
    """A table of Markdown, from cells as text."""
    listed = [columns, ["---"] * len(columns), *lines]
    return "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in listed) + "\n"


def escaped(text: str) -> str:
    """Text that neither ends a cell nor a line."""
    return " ".join(text.split()).replace("|", "\\|")


def shown(content: Any, level: int = 2) -> str:
    """Anything that JSON can hold: records and scores as tables, single values as a list, what lies deeper under
    headings."""
    if not isinstance(content, dict):
        return _listed(content, level)
    if records := _records(content):
        columns = list(dict.fromkeys(name for _, record in records for name in record))
        return table(["", *columns], [[key, *(_text(one.get(name)) for name in columns)] for key, one in records])
    flat = {key: value for key, value in content.items() if _is_flat(value)}
    scores = [name for name in flat if {f"{name}.low", f"{name}.baseline"} & set(flat)]
    parts = {f"{name}.{part}" for name in scores for part in ("low", "high", "baseline")}
    lines = "".join(f"- {key}: {_text(value)}\n" for key, value in flat.items() if key not in {*scores, *parts})
    scored = table(SCORE_COLUMNS, [_score(flat, name) for name in scores]) if scores else ""
    deeper = (f"{'#' * level} {key}\n\n{shown(content[key], level + 1)}" for key in content if key not in flat)
    return "\n".join(filter(None, [lines, scored, *deeper]))


def _score(flat: Mapping[str, Any], name: str) -> list[str]:
    """A score with what stands beside it under longer names."""
    low, high, baseline = (flat.get(f"{name}.{part}") for part in ("low", "high", "baseline"))
    return [name, _text(flat[name]), "-" if low is None else f"{_text(low)} to {_text(high)}", _text(baseline)]


def _listed(content: Sequence[Any], level: int) -> str:
    if all(isinstance(one, dict) and all(map(_fits_a_cell, one.values())) for one in content):
        columns = list(dict.fromkeys(name for record in content for name in record))
        if len(columns) > WIDE:  # a column for each record instead
            lines = [[name, *(_text(record.get(name)) for record in content)] for name in columns]
            return table(["", *(str(number) for number in range(1, len(content) + 1))], lines)
        alike = [name for name in columns if len(content) > 1 and all(_same(content[0], one, name) for one in content)]
        told = "".join(f"- {name}: {_text(content[0][name])}\n" for name in alike)
        differing = [name for name in columns if name not in alike]
        lines = [[_text(record.get(name)) for name in differing] for record in content]
        return "\n".join(filter(None, [told, table(differing, lines) if differing else ""]))
    if any(isinstance(one, dict) for one in content):
        return "\n".join(f"{'#' * level} {number}\n\n{shown(one, level + 1)}" for number, one in enumerate(content, 1))
    return "".join(f"- {', '.join(map(_text, one))}\n" for one in content)


def _same(first: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return name in first and name in other and bool(first[name] == other[name])


def _records(content: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Named records of single values, a name once or several times; none if it is anything else."""
    named = [(key, one) for key, value in content.items() for one in (value if isinstance(value, list) else [value])]
    flat = all(isinstance(one, dict) and all(map(_is_flat, one.values())) for _, one in named)
    return named if flat else []


def _is_flat(value: Any) -> bool:
    """A single value, or a few in a row."""
    return not isinstance(value, dict | list) or (
        isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)
    )


def _fits_a_cell(value: Any) -> bool:
    return all(map(_is_flat, value.values())) if isinstance(value, dict) else _is_flat(value)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)
