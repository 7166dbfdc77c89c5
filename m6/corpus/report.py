"""The report of a corpus: the table of the paper by source, and what was dropped and why.

`Tally` counts while the corpus is built, part by part; `write_report` leaves `report.json` (for programs), `report.md`
(for people) and `report.html` (a fragment of a page). Nothing in them depends on time or machine.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from m6.corpus.drop import Drop
from m6.run import write_atomic

REPORT = "report.json"
SAMPLES = 3  # of each reason and source
FIGURES = ("passages", "heldout", "images", "characters", "image_bytes", "text_bytes")
MODALITIES = {True: "image and text", False: "plain text"}


class Tally:
    """Counts of a corpus or of a part of it; parts add up in any order."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()  # records by source
        self.drops: Counter[tuple[str, str]] = Counter()  # by source and reason
        self.samples: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
        self.kept: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # FIGURES by source and modality

    def drop(self, source: str, drop: Drop) -> None:
        """Count a drop, and keep it as a sample if its hash is among the smallest: a fair choice in any order."""
        key = (source, drop.reason)
        self.drops[key] += 1
        self.samples[key] = _sampled([*self.samples[key], [drop.where, drop.sample]])

    def keep(self, table: pa.Table) -> None:
        """Count Documents that stay; the table has the columns of `document.SCHEMA`."""
        images = pc.list_value_length(table["images"])
        for row in (
            table.select(["source", "split"])
            .append_column("images", images)
            .append_column("characters", pc.utf8_length(table["text"]))
            .append_column("text_bytes", pc.binary_length(table["text"]))
            .append_column("image_bytes", pa.array(_image_bytes(table), pa.int64()))
            .to_pylist()
        ):
            counts = self.kept[row["source"], MODALITIES[bool(row["images"])]]
            counts["passages"] += 1
            counts["heldout"] += row["split"] == "heldout"
            for name in ("images", "characters", "text_bytes", "image_bytes"):
                counts[name] += row[name]

    def add(self, other: Tally) -> None:
        """Count all that another tally has counted."""
        self.read.update(other.read)
        self.drops.update(other.drops)
        for key, samples in other.samples.items():
            self.samples[key] = _sampled([*self.samples[key], *samples])
        for key, counts in other.kept.items():
            self.kept[key].update(counts)

    def dumps(self) -> bytes:
        """What a part has read and dropped, as JSON; what it keeps is counted after duplicates are gone."""
        drops = [[*key, count, self.samples[key]] for key, count in sorted(self.drops.items())]
        return json.dumps({"read": self.read, "drops": drops}, ensure_ascii=False, sort_keys=True).encode()

    @classmethod
    def loads(cls, data: bytes) -> Tally:
        """The tally that `dumps` wrote."""
        content = json.loads(data)
        tally = cls()
        tally.read.update(content["read"])
        for source, reason, count, samples in content["drops"]:
            tally.drops[source, reason] = count
            tally.samples[source, reason] = samples
        return tally


def _image_bytes(table: pa.Table) -> list[int]:
    lengths = pc.binary_length(pc.struct_field(pc.list_flatten(table["images"]), "bytes"))
    totals = [0] * table.num_rows
    for row, length in zip(pc.list_parent_indices(table["images"]).to_pylist(), lengths.to_pylist(), strict=True):
        totals[row] += length
    return totals


def _sampled(samples: list[list[str]]) -> list[list[str]]:
    return sorted(samples, key=lambda sample: hashlib.sha256("\0".join(sample).encode()).digest())[:SAMPLES]


def write_report(folder: Path, tally: Tally) -> None:
    """Write `report.md`, `report.html` and, last, `report.json`."""
    report = summary(tally)
    write_atomic(folder / "report.md", markdown(report))
    write_atomic(folder / "report.html", fragment(report))
    write_atomic(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def summary(tally: Tally) -> dict[str, Any]:
    """The report as plain values: `read`, `kept`, `pairs`, `texts`, `heldout`, `drops` (by reason), `sources` (rows of
    the table of the paper), `drops_by_source` (rows with samples)."""
    sources: list[dict[str, Any]] = [
        {"source": source, "modality": modality, **{name: counts[name] for name in FIGURES}}
        for (source, modality), counts in sorted(tally.kept.items())
    ]
    reasons: Counter[str] = Counter()
    for (_, reason), count in tally.drops.items():
        reasons[reason] += count
    passages = dict.fromkeys(MODALITIES.values(), 0)
    for row in sources:
        passages[row["modality"]] += row["passages"]
    return {
        "read": sum(tally.read.values()),
        "kept": sum(passages.values()),
        "pairs": passages[MODALITIES[True]],
        "texts": passages[MODALITIES[False]],
        "heldout": sum(row["heldout"] for row in sources),
        "drops": dict(sorted(reasons.items())),
        "sources": sources,
        "drops_by_source": [
            {
                "source": source,
                "reason": reason,
                "count": count,
                "samples": [{"where": where, "text": text} for where, text in tally.samples[source, reason]],
            }
            for (source, reason), count in sorted(tally.drops.items())
        ],
    }


def _corpus_table(report: dict[str, Any]) -> list[list[str]]:
    amounts = ["images", "tokens (characters)", "passages", "held out", "average length", "image MB", "text MB"]
    rows = report["sources"]
    total = {"source": "total", "modality": "", **{name: sum(row[name] for row in rows) for name in FIGURES}}
    return [["source", "modality", *amounts], *(_corpus_row(row) for row in [*rows, total])]


def _corpus_row(row: dict[str, Any]) -> list[str]:
    length = f"{row['characters'] / row['passages']:.1f}" if row["passages"] else "-"
    numbers = [f"{row[name]:,}" for name in ("images", "characters", "passages", "heldout")]
    return [row["source"], row["modality"], *numbers, length, *(f"{row[name] / 1e6:.2f}" for name in FIGURES[-2:])]


def _drop_table(report: dict[str, Any]) -> list[list[str]]:
    rows = [["source", "reason", "count", "for example"]]
    for drop in report["drops_by_source"]:
        sample = drop["samples"][0]
        text = " ".join(part for part in (sample["where"], sample["text"].replace("\n", " ")) if part)
        rows.append([drop["source"], drop["reason"], f"{drop['count']:,}", text])
    return rows


def _sentence(report: dict[str, Any]) -> str:
    return (
        f"{report['read']:,} records read, {report['kept']:,} kept ({report['pairs']:,} with pictures,"
        f" {report['texts']:,} plain texts), {sum(report['drops'].values()):,} dropped."
    )


def markdown(report: dict[str, Any]) -> str:
    """The report for a terminal or a repository."""
    parts = ["# Corpus", _sentence(report), _markdown_table(_corpus_table(report))]
    if report["drops"]:
        parts += ["## Dropped", _markdown_table(_drop_table(report))]
    return "\n\n".join(parts) + "\n"


def _markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def fragment(report: dict[str, Any]) -> str:
    """The report as a `section` element, for a page."""
    parts = [f"<p>{html.escape(_sentence(report))}</p>", _html_table(_corpus_table(report))]
    if report["drops"]:
        parts += ["<h3>Dropped</h3>", _html_table(_drop_table(report))]
    return '<section class="corpus">\n<h2>Corpus</h2>\n' + "\n".join(parts) + "\n</section>\n"


def _html_table(rows: list[list[str]]) -> str:
    def line(cells: list[str], element: str) -> str:
        return "<tr>" + "".join(f"<{element}>{html.escape(cell)}</{element}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", line(rows[0], "th"), *(line(row, "td") for row in rows[1:]), "</table>"])
