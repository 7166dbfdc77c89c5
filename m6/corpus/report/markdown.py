"""The report as Markdown, for a terminal or a repository."""

from __future__ import annotations

import re
from typing import Any

from m6.corpus.report.tables import (
    Table,
    corpus_table,
    extrapolation_sentence,
    extrapolation_table,
    matrix,
    paper_table,
    sentence,
    stage_table,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>|])")


def markdown(report: dict[str, Any]) -> str:
    """All of the report but its plots, whose numbers are in `report.json`."""
    parts = ["# Corpus", sentence(report), _table(corpus_table(report)), "Tokens are characters."]
    parts += ["The paper's own corpus (recalled, not checked against the print):", _table(paper_table())]
    for name, title in (("drops_by_source", "Dropped"), ("images_dropped_by_source", "Pictures left out")):
        if report[name]:
            parts += [f"## {title}", _table(matrix(report, name)), _table(_examples(report[name]))]
    parts += ["## Texts", _table(_bins(report["histograms"]["length"], "characters"))]
    parts += [_table(_named(report["histograms"]["script"], "script"))]
    if report["clusters"]["count"]:
        parts += ["## Near duplicates", f"{report['clusters']['count']:,} clusters.", _table(_clusters(report))]
    parts += ["## Speed", _table(stage_table(report))]
    parts += ["## At the paper's size", extrapolation_sentence(report), _table(extrapolation_table(report))]
    return "\n\n".join(parts) + "\n"


def _examples(drops: list[dict[str, Any]]) -> Table:
    rows = [["source", "reason", "count", "for example"]]
    for drop in drops:
        for number, sample in enumerate(drop["samples"]):
            head = [drop["source"], drop["reason"], f"{drop['count']:,}"] if not number else [""] * 3
            rows.append([*head, f"{sample['where']}: {sample['text']}" if sample["text"] else sample["where"]])
    return rows


def _bins(histograms: dict[str, list[list[int]]], name: str) -> Table:
    """Log bins as rows, sources as columns."""
    edges = sorted({(low, high) for bins in histograms.values() for low, high, _ in bins})
    counts = {(source, low): count for source, bins in histograms.items() for low, _, count in bins}
    rows = [
        [f"{low:,} to {high - 1:,}", *(f"{counts.get((source, low), 0):,}" for source in histograms)]
        for low, high in edges
    ]
    return [[name, *histograms], *rows]


def _named(histograms: dict[str, list[list[Any]]], name: str) -> Table:
    names = dict.fromkeys(script for rows in histograms.values() for script, _ in rows)
    counts = {(source, script): count for source, rows in histograms.items() for script, count in rows}
    return [
        [name, *histograms],
        *([one, *(f"{counts.get((source, one), 0):,}" for source in histograms)] for one in names),
    ]


def _clusters(report: dict[str, Any]) -> Table:
    rows = [["found by", "size", "kept", "dropped"]]
    for cluster in [*report["clusters"]["largest"], *report["clusters"]["others"]]:
        dropped = cluster["dropped"][0] if cluster["dropped"] else ""
        rows.append([cluster["reason"], f"{cluster['size']:,}", cluster["kept"], dropped])
    return rows


def _table(rows: Table) -> str:
    lines = ["| " + " | ".join(_SPECIAL.sub(r"\\\1", cell.replace("\n", " ")) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
