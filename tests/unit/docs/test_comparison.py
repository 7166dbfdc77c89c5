"""The table of the page "beside others" has every measurement that has a peer, as the committed results have it."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("benchmarks", reason="the benchmarks come with the repository alone")

from benchmarks.bars import bar, missed
from benchmarks.layout import RESULTS, newest, results
from benchmarks.rows import Row
from tests.unit.docs.pages import DOCS

OWN = re.compile(
    r"open-m6|quickstart(, one run)?$|unloaded$|a plain loop$|one after the other$|after the first twentieth$"
)
"""What ours is held against that is no other project."""
LINE = re.compile(r"^\|[^|]*\|[^|]*\| ([^|]+) \| ([^|]+) \| `(\w+)` \|$", re.MULTILINE)


def beside_others() -> dict[str, list[Row]]:
    """Rows with a peer, by key, measured on two cores; several of a key are of several precisions."""
    found: dict[str, list[Row]] = {}
    for result in newest(one for one in results(RESULTS) if one.hardware == "2cores"):
        for row in result.rows:
            if row["peer_name"] and row["ratio"] is not None and not OWN.match(row["peer_name"]):
                found.setdefault(row["key"], []).append(row)
    return found


@pytest.mark.parametrize(("language", "word", "most"), [("en", ", missed", "at most "), ("zh", "，未达到", "至多 ")])
def test_ratios_bars_and_misses_are_those_of_the_results(language: str, word: str, most: str) -> None:
    page = (DOCS / language / "comparison.md").read_text(encoding="utf-8")
    found = {key: (re.split("; |；", ratios), told) for ratios, told, key in LINE.findall(page)}
    rows = beside_others()
    assert found.keys() == rows.keys()
    for key, (ratios, told) in found.items():
        assert len(ratios) == len(rows[key]), key
        for shown, row in zip(ratios, rows[key], strict=True):
            digits = len(shown.removesuffix(word).partition(".")[2])
            assert shown == f"{row['ratio']:.{digits}f}" + (word if missed(row) else ""), key
            known = bar(row)
            assert told == (f"{most if known.at_most else ''}{known.value:g}" if known else "-"), key
