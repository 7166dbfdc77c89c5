"""Rows: what a benchmark reports, as JSON and as a table, and the line that says on what it was measured.

In: figures of paired runs, ours and a peer's by turns. Out: medians, and the range over the runs. A ratio is taken
within each pair, so that a machine that is slow for a while is slow for both.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from m6.run import write_atomic


class Row(TypedDict):
    """A figure. `ours` and `peer` are in `unit`; without a peer, `ours` is what the key stands for."""

    key: str
    ours: float | None
    peer: float | None  # None: the key has no peer, or its environment is missing
    peer_name: str | None
    ratio: float | None  # how many times better ours is; a cost as it is
    unit: str
    runs: int
    spread: list[float]  # lowest and highest over the runs, of the ratio, or of ours where there is none
    command: str
    seed: int
    hardware: str
    date: str
    note: str
    points: list[list[float]]  # [size, seconds] of a curve that `ours` is the exponent of; else empty


def row(
    key: str,
    ours: Sequence[float],
    unit: str,
    *,
    peer: Sequence[float] = (),
    peer_name: str | None = None,
    ratios: Sequence[float] = (),
    note: str = "",
    module: str = "corpus",
    on: str = "",
    points: Sequence[Sequence[float]] = (),
    seed: int = 0,
) -> Row:
    """The row of a key, from the figures of each run.

    Figures are rates, of which more is better, and run i of ours belongs to run i of the peer; `ratios` stand instead
    where the figures are none. `module` is the command that measures the key, `on` what it was measured on, if that is
    more than `hardware()` says, `seed` the start of all that is drawn by chance.
    """
    ratios = ratios or [own / other for own, other in zip(ours, peer, strict=bool(peer))]
    shown = ratios or ours
    return Row(
        key=key,
        ours=_median(ours),
        peer=_median(peer),
        peer_name=peer_name,
        ratio=_median(ratios),
        unit=unit,
        runs=len(shown),
        spread=[_rounded(min(shown)), _rounded(max(shown))] if shown else [],
        command=f"python -m benchmarks.{module} --only {key}",
        seed=seed,
        hardware=on or hardware(),
        date=today(),
        note=note,
        points=[[_rounded(value) for value in point] for point in points],
    )


def call_of(module: str, words: Sequence[str] | None) -> str:
    """A call of a benchmark as it is typed; without words the one of this process."""
    return shlex.join(["python", "-m", f"benchmarks.{module}", *(sys.argv[1:] if words is None else words)])


def today() -> str:
    """The date of a row."""
    return datetime.date.today().isoformat()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> str:
    """Cores that may be used, processor, memory, as "2 cores of an Intel(R) Xeon(R), 23 GiB"."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    counted = "1 core" if cores() == 1 else f"{cores()} cores"
    return f"{counted} of {next(found, platform.machine())}, {memory:.0f} GiB, Python {platform.python_version()}"


def machine(told: str) -> str:
    """What `hardware()` tells, without the version of Python."""
    return told.partition(", Python ")[0]


def table(rows: Iterable[Row]) -> str:
    """Lines for the terminal."""
    lines = [f"{'key':32} {'ours':>9} {'peer':>9} {'ratio':>7}  {'range':>15}  unit"]
    for one in rows:
        spread = " to ".join(f"{value:.4g}" for value in one["spread"])
        ours, peer, ratio = (_cell(value) for value in (one["ours"], one["peer"], one["ratio"]))
        lines.append(f"{one['key']:32} {ours:>9} {peer:>9} {ratio:>7}  {spread:>15}  {one['unit']}")
        lines += [f"{'':32} {one['note']}"] if one["note"] else []
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """The rows as a list, whole or not at all."""
    write_atomic(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def _median(figures: Sequence[float]) -> float | None:
    return _rounded(statistics.median(figures)) if figures else None


def _rounded(figure: float) -> float:
    return float(f"{figure:.5g}")


def _cell(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4g}"
