"""Line charts as inline SVG, without a plotting library.

The curves are drawn in a box of 1000 x 1000 that stretches with the page; ticks and legend are text beside it, so they
keep their size on a phone and follow the language and the colours of the page. Lines differ in colour and in dashes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from m6.train.report.elements import Content, Html, element

Point = tuple[float, float]
MOST_POINTS = 300  # of a curve; more would not be seen


@dataclass(frozen=True)
class Curve:
    """A named line through points in the order of x."""

    name: Html
    points: Sequence[Point]


def line_chart(
    curves: Sequence[Curve],
    caption: Content,
    x_label: Html,
    y_label: Html,
    *,
    log: bool = False,
    level: tuple[float, Html] | None = None,
) -> Html:
    """A figure with curves, axes, a legend that names the last values, and perhaps a level to compare with.

    With `log` the y axis is logarithmic, and values that are not positive are left out.
    """
    curves = [Curve(curve.name, thinned([p for p in curve.points if p[1] > 0 or not log])) for curve in curves]
    curves = sorted((curve for curve in curves if curve.points), key=lambda curve: -curve.points[-1][1])
    values = [y for curve in curves for _, y in curve.points] + ([level[0]] if level else [])
    scale: Callable[[float], float] = math.log10 if log else float
    low, high = _padded(scale(min(values)), scale(max(values)))
    right = max(x for curve in curves for x, _ in curve.points)

    def across(x: float) -> float:
        return 1000 * x / right if right else 0.0

    def down(y: float) -> float:
        return 1000 * (high - scale(y)) / (high - low)

    y_ticks = log_ticks(min(values), max(values)) if log else []
    y_ticks = [tick for tick in y_ticks if low <= scale(tick) <= high]
    if len(y_ticks) < 2:
        y_ticks = ticks(min(values), max(values))
    x_ticks = [tick for tick in ticks(0, right) if tick == int(tick)]  # steps are whole
    lines = [_line([(0, down(tick)), (1000, down(tick))], "rule") for tick in y_ticks]
    if level:
        lines.append(_line([(0, down(level[0])), (1000, down(level[0]))], "level"))
    lines += [
        _line([(across(x), down(y)) for x, y in curve.points], f"curve c{index}") for index, curve in enumerate(curves)
    ]
    plot = element("svg", lines, viewBox="0 0 1000 1000", preserveAspectRatio="none", aria_hidden="true")
    y_axis = [element("span", f"{tick:g}", style=f"top:{down(tick) / 10:.2f}%") for tick in y_ticks]
    x_axis = [element("span", f"{tick:,.0f}", style=f"left:{across(tick) / 10:.2f}%") for tick in x_ticks]
    return element(
        "figure",
        element("figcaption", caption),
        element("div", y_label, class_="y-label"),
        element(
            "div",
            element("div", y_axis, class_="y-axis", aria_hidden="true"),
            element("div", plot, class_="plot"),
            element("div", x_axis, class_="x-axis", aria_hidden="true"),
            element("div", x_label, class_="x-label"),
            class_="chart",
        ),
        _legend(curves, level),
        class_="plotted",
    )


def _legend(curves: Sequence[Curve], level: tuple[float, Html] | None) -> Html:
    rows = [(f"curve c{index}", curve.name, curve.points[-1][1]) for index, curve in enumerate(curves)]
    if level:
        rows.append(("level", level[1], level[0]))
    return element(
        "ul",
        (
            element(
                "li",
                element("svg", _line([(0, 5), (32, 5)], style), viewBox="0 0 32 10", aria_hidden="true"),
                element("span", name),
                element("b", f"{value:.2f}"),
            )
            for style, name, value in rows
        ),
        class_="legend",
    )


def _line(points: Sequence[Point], style: str) -> Html:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    path += "h0" if len(points) == 1 else ""  # a dot
    return element("path", d=path, class_=style)


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS` points: means of neighbours, and the last point as it is."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return list(points)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [*means[:-1], points[-1]]


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    rough = (high - low) / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.7)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times powers of ten around low to high."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 2)
    return [round(factor * 10.0**power, 10) for power in powers for factor in (1, 2, 5)]
