"""Plots as inline SVG: bars over log bins, bars of shares, and a map of picture sizes.

Sizes are in a box of fixed units that grows with the page; colours are those of its style sheet. Every mark has a
title, which browsers show under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, FOOT, SIDE = 320, 150, 18, 38  # of a plot; below the axis; left of it


def svg(content: str, label: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """A picture with a description for those who do not see it."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">\n{content}\n</svg>'


Bar = tuple[float, float, int, str]  # from, to, count, title


def histogram(bars: Sequence[Bar], span: tuple[float, float], ticks: Sequence[tuple[float, str]], label: str) -> str:
    """Bars along an axis from and to `span`, in its units, with ticks (place, text)."""
    low, high = span
    most = max(bar[2] for bar in bars)
    scale, ground = WIDTH / max(high - low, 1e-9), HEIGHT - FOOT
    parts = []
    for start, stop, count, title in bars:
        size = max((ground - 16) * count / most, 0.7)
        place = f'x="{(start - low) * scale + 0.5:.1f}" width="{max((stop - start) * scale - 1, 1):.1f}"'
        place += f' y="{ground - size:.1f}" height="{size:.1f}"'
        parts.append(_rectangle("bar", place, title))
    parts.append(f'<path class="axis" d="M0 {ground}H{WIDTH}"/>')
    for tick, text in ticks:
        if low <= tick <= high:
            x = (tick - low) * scale
            anchor = "start" if x < 12 else "end" if x > WIDTH - 12 else "middle"
            parts.append(f'<path class="axis" d="M{x:.1f} {ground}v3"/>')
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{escape(text)}</text>')
    parts.append(f'<text x="0" y="9">up to {most:,}</text>')
    return svg("\n".join(parts), label)


def shares(counts: Sequence[tuple[str, int, str]], label: str) -> str:
    """One bar cut by the share of each (name, count, class)."""
    total, x, parts = sum(count for _, count, _ in counts), 0.0, []
    for name, count, style in counts:
        width = WIDTH * count / total
        title = f"{name}: {count:,} ({100 * count / total:.1f} %)"
        parts.append(_rectangle(style, f'x="{x:.2f}" y="0" width="{width:.2f}" height="14"', title))
        x += width
    return svg("\n".join(parts), label, WIDTH, 14).replace("<svg ", '<svg preserveAspectRatio="none" ')


def size_map(cells: Sequence[tuple[int, int, int, int, int]], label: str) -> str:
    """Widths along, heights upwards, both on log axes. Cells (width from, to, height from, to, count) are the darker
    the more pictures they hold. The line is where pictures are square."""
    width, height = 320, 300
    places = [math.log2(max(edge, 1)) for cell in cells for edge in cell[:4]]
    low, high = math.floor(min(places)), math.ceil(max(places))
    low, high = max(low - 1, 0), high + 1  # some room, which tells small pictures from large ones
    most = math.log1p(max(cell[4] for cell in cells))
    across, up = (width - SIDE) / (high - low), (height - FOOT) / (high - low)

    def x(edge: float) -> float:
        return SIDE + (math.log2(max(edge, 1)) - low) * across

    def y(edge: float) -> float:
        return (high - math.log2(max(edge, 1))) * up

    parts = []
    for left, right, bottom, top, count in cells:
        place = f'x="{x(left):.1f}" y="{y(top):.1f}" width="{x(right) - x(left):.1f}" height="{y(bottom) - y(top):.1f}"'
        title = f"{left} to {right - 1} wide, {bottom} to {top - 1} high: {count:,}"
        strength = 0.12 + 0.88 * math.log1p(count) / most
        parts.append(_rectangle("bar", f'{place} opacity="{strength:.2f}"', title))
    parts.append(f'<path class="axis" d="M{SIDE} 0V{height - FOOT}H{width}"/>')
    parts.append(f'<path class="level" d="M{SIDE} {height - FOOT}L{width} 0"/>')
    step = math.ceil((high - low) / 6)
    for power in range(low, high, step):
        edge = 2**power
        parts.append(f'<text x="{x(edge):.1f}" y="{height - 4}" text-anchor="middle">{edge:,}</text>')
        baseline = min(max(y(edge) + 4, 9), height - FOOT)
        parts.append(f'<text x="{SIDE - 5}" y="{baseline:.1f}" text-anchor="end">{edge:,}</text>')
    return svg("\n".join(parts), label, width, height)


def _rectangle(style: str, place: str, title: str) -> str:
    return f'<rect class="{style}" {place}><title>{escape(title)}</title></rect>'
