"""Plots of results as SVGs that stand alone: how many times better each figure is, and how cost grows with work.

In: rows; points of work and cost. Out: text of an SVG, the same for the same figures. Both have logarithmic axes: twice
as good is as far to the right of 1 as half as good is to its left, and a power is a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.bars import bar, is_cost, missed
from benchmarks.curve import COLOURS, text
from benchmarks.rows import Row
from benchmarks.tables import figure, label

WIDTH, LEFT, RIGHT, TOP, LINE = 860, 270, 70, 44, 18  # pixels
GOOD, MISSED, FREE = "#3b6fb6", "#c2502d", "#8fa3b8"
LEGEND = ((GOOD, "reaches its bar"), (MISSED, "misses it"), (FREE, "has none"))
SIDE = 420  # of a plot of growth, pixels

OURS = ("quickstart", "quickstart, one run", "open-m6, float32")
"""Peers that are other runs of ours: a page has their scores, the plot what others are."""


class Mark(NamedTuple):
    """A row in a plot, more being better."""

    label: str
    ratio: float
    spread: tuple[float, float]
    bar: float | None
    missed: bool


def mark(row: Row) -> Mark | None:
    """A row beside a peer; a cost is turned over. None for what has no ratio, or none that a logarithm takes."""
    ratio, known = row["ratio"], bar(row)
    if row["peer"] is None or not ratio or row["peer_name"] in OURS or min(row["spread"]) <= 0:
        return None
    wanted = known.value if known else None
    name = label(row)
    low, high = row["spread"]
    if is_cost(row):
        name, ratio, low, high = f"1 / {name}", 1 / ratio, 1 / high, 1 / low
        wanted = 1 / wanted if wanted else None
    return Mark(name, ratio, (low, high), wanted, missed(row))


def ratios_svg(groups: Mapping[str, Sequence[Row]]) -> str:
    """A bar for each row that has a peer, under the names of the benchmarks; black ticks are the bars to be reached."""
    marks = {name: [drawn for row in rows if (drawn := mark(row))] for name, rows in groups.items()}
    marks = {name: found for name, found in marks.items() if found}
    shown = [one for found in marks.values() for one in found]
    ends = [value for one in shown for value in (1.0, *one.spread, one.bar or 1.0)]
    scale = _axis(min(ends, default=1.0), max(ends, default=1.0), LEFT, WIDTH - RIGHT)
    height = TOP + LINE * (len(shown) + len(marks)) + 34
    lines = [text(8, 18, "Ours beside the other: times better, by medians; thin lines are the ranges over the runs")]
    for number, (colour, said) in enumerate(LEGEND):
        lines.append(f'<rect x="{8 + 130 * number}" y="26" width="10" height="10" fill="{colour}"/>')
        lines.append(text(22 + 130 * number, 35, said))
    for value in _ticks(min(ends, default=1.0), max(ends, default=1.0)):
        colour = "#444" if value == 1 else "#ddd"
        lines.append(_line(scale(value), TOP, scale(value), height - 28, colour))
        lines.append(text(scale(value), height - 12, f"{value:g}", anchor="middle"))
    down = TOP
    for name, found in marks.items():
        lines.append(text(8, down + 14, name, "#000"))
        down += LINE
        for one in found:
            lines += _bar(one, scale, down)
            down += LINE
    return _svg(WIDTH, height, lines)


def _bar(one: Mark, scale: Callable[[float], float], down: float) -> list[str]:
    colour = MISSED if one.missed else FREE if one.bar is None else GOOD
    start, end = sorted((scale(1.0), scale(one.ratio)))
    middle = down + LINE / 2
    lines = [
        text(LEFT - 8, down + 13, one.label, anchor="end"),
        f'<rect x="{start:.1f}" y="{down + 3}" width="{max(end - start, 1):.1f}" height="{LINE - 6}" fill="{colour}"/>',
        _line(scale(one.spread[0]), middle, scale(one.spread[1]), middle, "#222"),
        text(WIDTH - 8, down + 13, figure(one.ratio), colour if one.missed else "#444", anchor="end"),
    ]
    if one.bar is not None:
        lines.append(_line(scale(one.bar), down + 1, scale(one.bar), down + LINE - 1, "#000", 2))
    return lines


def growth_svg(curves: Mapping[str, Sequence[Sequence[float]]], what: str) -> str:
    """Cost over work by name, each by its own first point; the dashed lines are linear and quadratic growth."""
    scaled = {name: [(x / points[0][0], y / points[0][1]) for x, y in points] for name, points in curves.items()}
    right = max((x for points in scaled.values() for x, _ in points), default=1.0)
    costs = [1.0, right, *(y for points in scaled.values() for _, y in points)]
    across = _axis(1.0, right, 50, SIDE - 10)
    up = _axis(min(costs), max(costs), SIDE - 40, 30)
    lines = [text(8, 18, what)]
    for value in _ticks(1.0, right):
        lines += [_line(across(value), 30, across(value), SIDE - 40, "#ddd")]
        lines += [text(across(value), SIDE - 24, f"{value:g}", anchor="middle")]
    for value in _ticks(min(costs), max(costs)):
        lines += [_line(50, up(value), SIDE - 10, up(value), "#ddd")]
        lines += [text(44, up(value) + 4, f"{value:g}", anchor="end")]
    for power in (1, 2):
        end = min(right, max(costs) ** (1 / power))
        lines.append(_line(across(1), up(1), across(end), up(end**power), "#999", 1, "4 4"))
    for number, (name, points) in enumerate(scaled.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        lines.append(text(60, 48 + 16 * number, name, colour))
    lines.append(text(SIDE / 2, SIDE - 6, "work, times the least", anchor="middle"))
    return _svg(SIDE, SIDE, lines)


def _axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Where a value stands between two pixels."""
    span = math.log(high / low) or 1.0
    return lambda value: start + (end - start) * math.log(value / low) / span


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within a range; powers of ten alone where it is wide."""
    digits = (1, 2, 5) if high / low < 1e4 else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
    return [value for value in found if low <= value <= high]


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, width: int = 1, dashes: str = "") -> str:
    style = f' stroke-width="{width}"' + f' stroke-dasharray="{dashes}"' * bool(dashes)
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"{style}/>'


def _svg(width: int, height: int, lines: Sequence[str]) -> str:
    body = "\n".join([f'<rect width="{width}" height="{height}" fill="white"/>', *lines])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">\n{body}\n</svg>\n'
