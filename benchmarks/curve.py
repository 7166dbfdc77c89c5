"""Curves of trainings as an SVG that stands alone: a thin line for each seed, a thick one for their mean."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 400, 60, 40  # pixels; the last two are margins with numbers
COLOURS = ("#3b6fb6", "#c2502d", "#3f8f4f", "#8a5fb0", "#b8860b", "#2a9d9d", "#d0508f", "#666666")


def curve_svg(runs: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], figure: str) -> str:
    """`figure` over steps, for the rows of metrics of several seeds by name; rows without it are left out."""
    curves = {
        name: [[(row["step"], row[figure]) for row in rows if figure in row] for rows in seeds]
        for name, seeds in runs.items()
    }
    points = [point for seeds in curves.values() for curve in seeds for point in curve]
    right = max(step for step, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)

    def place(step: float, value: float) -> str:
        across = LEFT + (WIDTH - LEFT - 10) * step / right
        down = 10 + (HEIGHT - BOTTOM - 20) * (high - value) / ((high - low) or 1.0)
        return f"{across:.1f},{down:.1f}"

    def line(curve: Sequence[tuple[float, float]], colour: str, style: str) -> str:
        path = " ".join(place(step, value) for step, value in curve)
        return f'<polyline fill="none" stroke="{colour}" {style} points="{path}"/>'

    lines = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        value, step = low + share * (high - low), share * right
        across, down = float(place(step, low).split(",")[0]), float(place(0, value).split(",")[1])
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{down:.1f}" y2="{down:.1f}" stroke="#ddd"/>')
        lines += [text(8, down + 4, f"{value:.2f}"), text(across - 12, HEIGHT - 18, f"{step:.0f}")]
    for (name, seeds), colour in zip(curves.items(), COLOURS, strict=False):
        lines += [line(curve, colour, 'stroke-width="1" opacity="0.4"') for curve in seeds]
        mean = [(column[0][0], statistics.mean(v for _, v in column)) for column in zip(*seeds, strict=True)]
        lines.append(line(mean, colour, 'stroke-width="2.5"'))
        lines.append(text(WIDTH - 110, 34 + 20 * list(curves).index(name), name, colour))
    lines += [text(WIDTH // 2, HEIGHT - 2, "step"), text(WIDTH // 2 - 40, 26, figure)]
    frame = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    body = "\n".join([frame, *lines])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">\n{body}\n</svg>\n'


def text(x: float, y: float, said: str, colour: str = "#444", anchor: str = "start") -> str:
    """Words in a drawing; `anchor` is the end of them, or the middle, that stands at x."""
    where = f'x="{x:.0f}" y="{y:.0f}"' + f' text-anchor="{anchor}"' * (anchor != "start")
    return f'<text {where} font-family="sans-serif" font-size="12" fill="{colour}">{html.escape(said)}</text>'
