"""Where results are kept: `benchmarks/results/<what>_<hardware>_<yyyymm>.json`, with a page (.md) beside each.

In: a folder of such files. Out: what they hold. A file is a list of rows (`rows.py`), or {"failed": its last line} of a
benchmark that did not get through, or, of single studies, anything else.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, cores
from benchmarks.runners import ROOT

RESULTS = ROOT / "benchmarks" / "results"
NAME = re.compile(r"(?P<what>[a-z0-9_]+)_(?P<hardware>[a-z0-9]+)_(?P<month>20\d\d(?:0[1-9]|1[0-2]))")


@dataclass(frozen=True)
class Result:
    """One file of results."""

    path: Path
    what: str
    hardware: str
    month: str  # yyyymm
    content: Any

    @property
    def rows(self) -> list[Row]:
        """Its rows; none where it holds something else."""
        listed = isinstance(self.content, list) and all({"key", "ratio"} <= set(one) for one in self.content)
        return self.content if listed else []

    @property
    def failed(self) -> str:
        """The last line of a benchmark that failed."""
        return str(self.content.get("failed", "")) if isinstance(self.content, dict) else ""

    @property
    def page(self) -> Path:
        """The file that shows it to people."""
        return self.path.with_suffix(".md")


def slug() -> str:
    """The hardware of this machine in the name of a file, as "2cores"."""
    return f"{cores()}cores"


def path_of(folder: Path, what: str) -> Path:
    """The file that a measurement of this month on this machine belongs in."""
    return folder / f"{what}_{slug()}_{datetime.date.today():%Y%m}.json"


def read(path: Path) -> Result:
    """A file of results."""
    named = NAME.fullmatch(path.stem)
    assert named, f"{path.name} is not <what>_<hardware>_<yyyymm>.json"
    return Result(path, **named.groupdict(), content=json.loads(path.read_text(encoding="utf-8")))


def results(folder: Path) -> list[Result]:
    """All files of a folder, by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def newest(found: Iterable[Result]) -> list[Result]:
    """Of each thing on each hardware the last month."""
    kept = {(one.hardware, one.what): one for one in sorted(found, key=lambda one: one.month)}
    return [kept[key] for key in sorted(kept)]
