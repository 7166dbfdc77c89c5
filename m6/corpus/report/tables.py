"""The tables of the report as rows of text, of which the first is the head; both forms of the report print them."""

from __future__ import annotations

from typing import Any

from m6.corpus.report.paper import TABLE, TOTAL, Row
from m6.corpus.report.tally import FIGURES

Table = list[list[str]]

FEWEST_SECONDS = 60  # of a core, below which an extrapolation is called a guess
MOST_COLUMNS = 8  # sources side by side; more do not fit on a page


def size(bytes: float) -> str:
    """An amount of bytes as people say it: 2.94 MB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes >= factor:
            return (
                f"{bytes / factor:#.3g}".rstrip(".") + f" {unit}"
                if bytes < 999.5 * factor
                else f"{bytes / factor:,.0f} {unit}"
            )
    return f"{bytes:.0f} B"


def brief(number: float | None) -> str:
    """A measured number with three digits that count: 0.0123, 4.50, 789, 12,345; a dash for none."""
    if number is None:
        return "-"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:#.3g}"


def sentence(report: dict[str, Any]) -> str:
    """What came in and what of it stays."""
    return (
        f"{report['read']:,} records read, {report['kept']:,} kept ({report['pairs']:,} with pictures,"
        f" {report['texts']:,} plain texts), {sum(report['drops'].values()):,} dropped."
    )


def corpus_table(report: dict[str, Any]) -> Table:
    """The table of the paper for this corpus."""
    rows = report["sources"]
    total = {"source": "total", "modality": "", **{name: sum(row[name] for row in rows) for name in FIGURES}}
    head = [
        "source",
        "modality",
        "images",
        "tokens",
        "passages",
        "held out",
        "average length",
        "images size",
        "text size",
    ]
    return [head, *(_corpus_row(row) for row in [*rows, total])]


def _corpus_row(row: dict[str, Any]) -> list[str]:
    length = f"{row['characters'] / row['passages']:,.1f}" if row["passages"] else "-"
    numbers = [f"{row[name]:,}" for name in ("images", "characters", "passages", "heldout")]
    return [row["source"], row["modality"], *numbers, length, size(row["image_bytes"]), size(row["text_bytes"])]


def paper_table() -> Table:
    """The table of the paper for its own corpus, as recalled."""
    head = ["source", "modality", "images", "tokens", "passages", "average length", "images size", "text size"]
    return [head, *map(_paper_row, (*TABLE, TOTAL))]


def _paper_row(row: Row) -> list[str]:
    images = f"{row.images:.1f} M" if row.images else "-"
    length = f"{1000 * row.tokens / row.passages:,.0f}"
    image_size = f"{row.image_size:.1f} TB" if row.image_size else "-"
    numbers = [images, f"{row.tokens:.1f} B", f"{row.passages:.1f} M", length, image_size, f"{row.text_size:.1f} GB"]
    return [row.source, row.modality, *numbers]


def stage_table(report: dict[str, Any]) -> Table:
    """Where the time went."""
    rows = [["stage", "core-seconds", "share", "amount", "MB/s", "items", "items/s"]]
    total = sum(stage["seconds"] for stage in report["stages"].values())
    for name, stage in report["stages"].items():
        share = f"{100 * stage['seconds'] / total:.0f} %" if total else "-"
        amounts = [size(stage["bytes"]) if stage["bytes"] else "-", brief(stage["mb_per_s"]) if stage["bytes"] else "-"]
        items = [f"{stage['items']:,}", brief(stage["items_per_s"])] if stage["items"] else ["-", "-"]
        rows.append([name, brief(stage["seconds"]), share, *amounts, *items])
    return [*rows, ["total", brief(total), "", "", "", "", ""]]


def extrapolation_table(report: dict[str, Any]) -> Table:
    """Core-hours for the paper's amounts."""
    rows = [["stage", "core-hours, lower", "core-hours, upper"]]
    estimate = report["extrapolation"]
    for name, hours in [*estimate["stages"].items(), ("total", estimate["core_hours"])]:
        rows.append([name, brief(hours["low"]), brief(hours["high"])])
    return rows


def extrapolation_sentence(report: dict[str, Any]) -> str:
    """The answer, with its assumptions."""
    estimate = report["extrapolation"]
    if not estimate["stages"]:
        return "Nothing was timed in this run."
    low, high = (brief(estimate["core_hours"][name]) for name in ("low", "high"))
    missing = f" Not measured in this run, and not in the sum: {', '.join(estimate['missing'])}." * bool(
        estimate["missing"]
    )
    measured = sum(stage["seconds"] for stage in report["stages"].values())
    guess = f" {brief(measured)} core-seconds were measured: a rough guess." if measured < FEWEST_SECONDS else ""
    return (
        f"At the rates of this run the paper's corpus ({TOTAL.text_size} GB of text, {TOTAL.images} M pictures,"
        f" {TOTAL.image_size} TB) would take {low} to {high} core-hours.{guess}{missing} {estimate['assumptions']}"
    )


def _narrow_matrix(rows: list[dict[str, Any]], totals: dict[str, int]) -> Table:
    """The same for many sources: each reason with the sources that have most of it."""
    table = [["reason", "all", "most of them in"]]
    for reason, total in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        found = sorted((row for row in rows if row["reason"] == reason), key=lambda row: (-row["count"], row["source"]))
        named = [f"{row['source']} {row['count']:,}" for row in found[:3]]
        named += [f"{len(found) - 3} others"] * (len(found) > 3)
        table.append([reason, f"{total:,}", ", ".join(named)])
    return table


def matrix(report: dict[str, Any], name: str) -> Table:
    """Reasons by source, the most frequent first; `name` is that of the list in the report."""
    rows = report[name]
    sources = sorted({row["source"] for row in rows})
    counts = {(row["reason"], row["source"]): row["count"] for row in rows}
    totals = {reason: sum(counts.get((reason, source), 0) for source in sources) for reason, _ in counts}
    if len(sources) > MOST_COLUMNS:
        return _narrow_matrix(rows, totals)
    table = [["reason", *sources, "all"]]
    for reason, total in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        cells = [f"{counts[reason, source]:,}" if (reason, source) in counts else "-" for source in sources]
        table.append([reason, *cells, f"{total:,}"])
    return table
