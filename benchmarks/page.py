"""The pages of all results: README.md with the plots and what falls short, and a page beside each file.

In: a folder of results (`layout.py`). Out: files that are the same whenever they are made from the same results; those
of earlier months keep their own pages and leave the plots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.bars import missed
from benchmarks.layout import Result, newest, results
from benchmarks.peers.setup import PACKAGES, SETTINGS
from benchmarks.plots import growth_svg, ratios_svg
from benchmarks.rows import Row
from benchmarks.tables import figure, label, page, ratio, table, theirs, told_bar
from m6.run import write_atomic

HEAD = """# Results

Written by `python -m benchmarks` (`make bench`), made anew by `python -m benchmarks --pages`. Ours and the peer of a
row were measured in one run; each row names its machine and date, and tables may be of different machines. What each
benchmark is: [the guide](../../docs/en/benchmarks.md).

Figures are medians of paired runs. A bar is what the project wants to reach; what falls short stays here.
"""
PEERS = """
## The others

Each in an environment of its own, made by `python -m benchmarks.peers.setup`. The version that was measured stands in
its rows. For writing, painting and serving transformers is that of this project's own environment: `generate` with its
cache at the best of several batch sizes, and the faster of one thread and two.

"""


def pages(folder: Path) -> dict[str, str]:
    """The text of every generated file of a folder, by its name."""
    found = results(folder)
    made = {one.page.name: page(one) for one in found}
    readme = HEAD
    for hardware, group in groupby(newest(found), key=lambda one: one.hardware):
        newest_of = list(group)
        plots = dict(_plots(hardware, newest_of))
        made |= plots
        readme += _section(hardware, newest_of, list(plots))
    packages = {name: [one for call in calls for one in call if "==" in one] for name, calls in PACKAGES.items()}
    lines = [[name, ", ".join(packages[name]), SETTINGS[name]] for name in PACKAGES]
    made["README.md"] = readme + PEERS + table(("peer", "packages", "how it is run"), lines)
    return made


def write_pages(folder: Path) -> None:
    """Write those that are new or other than they were."""
    for name, text in pages(folder).items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)


def _plots(hardware: str, found: Sequence[Result]) -> Iterator[tuple[str, str]]:
    groups = {one.what: one.rows for one in found if any(row["peer"] is not None for row in one.rows)}
    if groups:
        yield f"ratios_{hardware}.svg", ratios_svg(groups)
    grown = [row for one in found for row in one.rows if row.get("points")]
    curves = {row["key"].removesuffix("_exponent"): row["points"] for row in grown}
    if curves:
        yield f"growth_{hardware}.svg", growth_svg(curves, "Cost as work grows; dashed: linear, quadratic")


def _section(hardware: str, found: Sequence[Result], plots: Sequence[str]) -> str:
    """What was found on machines with so many cores."""
    text = f"\n## On {hardware}\n\n" + "".join(f"![{name.split('_')[0]}]({name})\n\n" for name in plots)
    lines = [
        [
            f"[{one.what}]({one.page.name})",
            f"{one.month[:4]}-{one.month[4:]}",
            *_counts(one),
            f"[rows]({one.path.name})",
        ]
        for one in found
    ]
    text += table(("what", "month", "figures", "missed", ""), lines)
    rows = [(one, row) for one in found for row in one.rows]
    short = [[_key(one, row), *_figures(row), told_bar(row)] for one, row in rows if missed(row)]
    if short:
        text += "\n### What falls short\n\n" + table(("key", "ours", "theirs", "ratio", "unit", "bar"), short)
    missing = [(one, row) for one, row in rows if row["peer_name"] and row["peer"] is None]
    alone = [[_key(one, row), str(row["peer_name"]), row["note"]] for one, row in missing]
    if alone:
        text += "\n### Peers that were not available\n\n" + table(("key", "peer", "note"), alone)
    return text


def _counts(one: Result) -> list[str]:
    if one.failed:
        return ["failed", one.failed]
    return [str(len(one.rows)), str(sum(map(missed, one.rows)))] if one.rows else ["-", "-"]


def _key(one: Result, row: Row) -> str:
    return f"[{label(row)}]({one.page.name})"


def _figures(row: Row) -> list[str]:
    return [figure(row["ours"]), theirs(row), ratio(row), row["unit"]]
