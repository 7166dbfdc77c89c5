"""The report of a corpus: what came in, what was left out and why, what is there now, and what it took.

`Tally` counts while the corpus is built, part by part; `write_report` leaves three forms of the same: `report.html`, a
page that needs neither network nor scripts, `report.md`, and `report.json` for programs. Timings apart, nothing in them
depends on time or machine.

    tally.py      the counts
    scripts.py    what a text is written in
    paper.py      the paper's own table, and its amounts at the rates of a run
    summary.py    report.json
    tables.py     rows of text
    markdown.py   report.md
    plots.py, page.py, style.css   report.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from m6.corpus.report.markdown import markdown
from m6.corpus.report.page import fragment, page
from m6.corpus.report.summary import summary
from m6.corpus.report.tally import Tally
from m6.run import write_atomic

__all__ = ["REPORT", "Tally", "fragment", "markdown", "page", "summary", "write_report"]

REPORT = "report.json"


def write_report(folder: Path, tally: Tally, about: dict[str, Any]) -> dict[str, Any]:
    """Write `report.html`, `report.md` and, last, `report.json`; returns what the last one holds. Of `about`, `sources`
    tells the kind of each source; other entries are printed at the foot of the page."""
    report = summary(tally, about)
    write_atomic(folder / "report.html", page(report))
    write_atomic(folder / "report.md", markdown(report))
    write_atomic(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report
