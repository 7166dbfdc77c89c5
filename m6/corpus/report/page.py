"""The report as one page that opens on its own: no network, no scripts, light or dark as the reader's system is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from m6.corpus.report.plots import histogram, shares, size_map
from m6.corpus.report.scripts import SCRIPTS
from m6.corpus.report.tables import (
    Table,
    corpus_table,
    extrapolation_sentence,
    extrapolation_table,
    matrix,
    paper_table,
    sentence,
    size,
    stage_table,
)

_NOTHING = '<p class="note">Nothing here in this run.</p>'


def page(report: dict[str, Any]) -> str:
    """The whole document."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Corpus</title>\n<style>\n{style}</style>"
    )
    body = f"<main>\n{fragment(report)}</main>\n<footer>{_about(report)}</footer>"
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def fragment(report: dict[str, Any]) -> str:
    """The report as one `section` element, for another page with the rules of `style.css`."""
    parts = [f"<header>\n<h1>Corpus</h1>\n<p>{escape(sentence(report))}</p>\n{_figures(report)}\n</header>"]
    parts += [
        f'<section>\n<h2>{title}</h2>\n<div class="body">\n{make(report)}\n</div>\n</section>'
        for title, make in _SECTIONS
    ]
    return '<section class="corpus">\n' + "\n".join(parts) + "\n</section>\n"


def _figures(report: dict[str, Any]) -> str:
    rows, seconds = report["sources"], sum(stage["seconds"] for stage in report["stages"].values())
    figures = {
        "passages": f"{report['kept']:,}",
        "tokens (characters)": f"{sum(row['characters'] for row in rows):,}",
        "pictures": f"{sum(row['images'] for row in rows):,}",
        "of text": size(sum(row["text_bytes"] for row in rows)),
        "of pictures": size(sum(row["image_bytes"] for row in rows)),
        "core-seconds": f"{seconds:,.0f}",
    }
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items()) + "</dl>"


def _sources(report: dict[str, Any]) -> str:
    return (
        _table(corpus_table(report), "This corpus", text=2, total=True)
        + '<p class="note">Tokens are characters. Sizes are those in the shards, where pictures have the training'
        " size.</p>"
        + _table(paper_table(), 'The paper\'s own corpus <span class="tag">recalled</span>', text=2, total=True)
        + '<p class="note">Recalled: written from memory, not checked against the print; the columns add up. M is a'
        " million, B a thousand million.</p>"
    )


def _dropped(report: dict[str, Any]) -> str:
    parts = []
    for name, title in (
        ("drops_by_source", "Records"),
        ("images_dropped_by_source", "Pictures left out of Documents that stay"),
    ):
        if report[name]:
            read = report["read_by_source"] if name == "drops_by_source" else {}
            parts += [_table(matrix(report, name), title), _examples(report[name], read)]
    return "\n".join(parts) or _NOTHING


def _examples(drops: list[dict[str, Any]], read: dict[str, int]) -> str:
    blocks = []
    for drop in sorted(drops, key=lambda drop: (drop["source"], -drop["count"], drop["reason"])):
        samples = "".join(
            f"<li><small>{_quoted(one['where'])}</small>{_quoted(one['text'])}</li>" for one in drop["samples"]
        )
        count = f"{drop['count']:,}"
        if read.get(drop["source"]):
            count += f", {_percent(drop['count'] / read[drop['source']])} of what was read"
        title = f"<b>{escape(drop['source'])}</b> {escape(drop['reason'])} <small>{count}</small>"
        blocks.append(f"<details><summary>{title}</summary><ul>{samples}</ul></details>")
    return '<div class="examples">' + "\n".join(blocks) + "</div>"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _quoted(text: str) -> str:
    """Somebody's text, isolated so that its direction of writing does not reach the page."""
    return f'<bdi lang="zh">{escape(text)}</bdi>' if text else ""


def _lengths(report: dict[str, Any]) -> str:
    found = report["histograms"]["length"]
    return _multiples(_log_plots(found, "characters", "texts"), str, "texts by characters")


def _log_plots(found: dict[str, list[list[int]]], unit: str, things: str) -> dict[str, str]:
    """Histograms over log bins (from, to, count), all on one axis."""
    edges = [_log(edge) for bins in found.values() for low, high, _ in bins for edge in (low, high)] or [0.0]
    span = min(edges), max(edges)
    plots = {}
    for name, bins in found.items():
        bars = [
            (_log(low), _log(high), count, f"{low:,} to {high - 1:,} {unit}: {count:,} {things}")
            for low, high, count in bins
        ]
        plots[name] = histogram(bars, span, _powers(*span), f"{things} by {unit}, log axis")
    return plots


def _scripts(report: dict[str, Any]) -> str:
    found = report["histograms"]["script"]
    if not found:
        return _NOTHING
    names = [name for name in SCRIPTS if any(name == script for rows in found.values() for script, _ in rows)]
    rows = []
    for source, counts in found.items():
        bar = shares([(name, count, f"s{SCRIPTS.index(name)}") for name, count in counts], "Texts by script")
        rows.append(f"<dt>{escape(source)}</dt><dd>{bar}</dd>")
    legend = "".join(f'<li class="s{SCRIPTS.index(name)}">{name}</li>' for name in names)
    total = {
        name: sum(count for rows_ in found.values() for script, count in rows_ if script == name) for name in names
    }
    table = _table([["script", "texts"], *([name, f"{count:,}"] for name, count in total.items())], "All sources")
    note = (
        '<p class="note">What most letters of a text are; Chinese by the characters that one of its scripts alone'
        " has.</p>"
    )
    return f'<dl class="shares">{"".join(rows)}</dl>\n<ul class="legend">{legend}</ul>{note}{table}'


def _pictures(report: dict[str, Any]) -> str:
    found = report["histograms"]
    if not found["image_size"]:
        return _NOTHING

    def sizes(cells: list[list[int]]) -> str:
        return size_map([(*cell,) for cell in cells], "Pictures by width and height, log axes")  # type: ignore[misc]

    def aspects(bins: list[list[int]]) -> str:
        bars = [(place - 0.5, place + 0.5, count, f"{_ratio(place)}: {count:,} pictures") for place, count in bins]
        reach = max(8.5, *(abs(place) + 0.5 for place, _ in bins))
        ticks = [(4 * math.log2(ratio), name) for ratio, name in _RATIOS]
        return histogram(bars, (-reach, reach), ticks, "Pictures by width over height, log axis")

    return (
        "<h3>Width and height as found, pixels</h3>"
        + _multiples(found["image_size"], sizes, "darker: more pictures")
        + "<h3>Width over height</h3>"
        + _multiples(found["aspect"], aspects, "wider to the right")
    )


_RATIOS = ((1 / 4, "1:4"), (1 / 2, "1:2"), (3 / 4, "3:4"), (1, "1:1"), (4 / 3, "4:3"), (2, "2:1"), (4, "4:1"))


def _ratio(place: int) -> str:
    low, high = (2 ** ((place + shift) / 4) for shift in (-0.5, 0.5))
    return f"{low:.2f} to {high:.2f} times as wide as high"


def _duplicates(report: dict[str, Any]) -> str:
    clusters = report["clusters"]
    if not clusters["count"]:
        return _NOTHING
    sizes: dict[str, list[list[int]]] = {}
    for reason, *row in clusters["sizes"]:
        sizes.setdefault(reason, []).append(row)
    plots = _multiples(_log_plots(sizes, "Documents", "clusters"), str, "clusters by size")
    parts = [f"<h3>{clusters['count']:,} clusters</h3>", plots]
    for name, title in (("largest", "The largest"), ("others", "Others, chosen by chance")):
        if clusters[name]:
            parts.append(f'<h3>{title}</h3><div class="clusters">{"".join(map(_cluster, clusters[name]))}</div>')
    return "\n".join(parts)


def _cluster(cluster: dict[str, Any]) -> str:
    more = cluster["size"] - 1 - len(cluster["dropped"])
    dropped = "".join(f"<li>{_quoted(text)}</li>" for text in cluster["dropped"])
    rest = f'<li class="note">and {more:,} more</li>' if more > 0 else ""
    title = f"<b>{cluster['size']:,}</b> {escape(cluster['reason'])}"
    return f"<article><h4>{title}</h4><p>{_quoted(cluster['kept'])}</p><ul>{dropped}{rest}</ul></article>"


def _speed(report: dict[str, Any]) -> str:
    if not report["stages"]:
        return _NOTHING
    note = '<p class="note">Seconds are those of one core, summed over all workers. MB are a million bytes.</p>'
    return _table(stage_table(report), "", total=True) + note


def _paper_size(report: dict[str, Any]) -> str:
    text = f"<p>{escape(extrapolation_sentence(report))}</p>"
    return text + (_table(extrapolation_table(report), "", total=True) if report["extrapolation"]["stages"] else "")


def _about(report: dict[str, Any]) -> str:
    entries = {name: value for name, value in report["about"].items() if name != "sources"}
    kinds = report["about"].get("sources", {})
    if kinds:
        entries = {"sources": ", ".join(f"{name} ({kind})" for name, kind in kinds.items()), **entries}
    return "".join(f"<p><b>{escape(name)}</b> {escape(str(value))}</p>" for name, value in entries.items())


def _multiples(found: dict[str, Any], plot: Callable[[Any], str], unit: str) -> str:
    """One plot a source, side by side."""
    if not found:
        return _NOTHING
    figures = (
        f"<figure><figcaption>{escape(source)} <small>{unit}</small></figcaption>{plot(values)}</figure>"
        for source, values in found.items()
    )
    return '<div class="plots">' + "\n".join(figures) + "</div>"


def _log(edge: int) -> float:
    return math.log2(edge) if edge else -1.0


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten between two places on an axis of doublings, or of two where there are few."""
    ticks = [(math.log2(10**power), f"{10**power:,}") for power in range(8)]
    within = [tick for tick in ticks if low <= tick[0] <= high]
    return within if len(within) > 1 else [(float(power), f"{2**power:,}") for power in range(27)]


def _table(rows: Table, title: str, text: int = 1, total: bool = False) -> str:
    """A table whose first `text` columns are words; `total` marks the last row. `title` is HTML."""

    def line(cells: Sequence[str], element: str) -> str:
        return "".join(
            f"<{element}{'' if column < text else ' class=n'}>{escape(cell)}</{element}>"
            for column, cell in enumerate(cells)
        )

    body = [f"<tr>{line(row, 'td')}</tr>" for row in rows[1:]]
    if total:
        body[-1] = body[-1].replace("<tr>", "<tr class=total>", 1)
    head = f"<thead><tr>{line(rows[0], 'th')}</tr></thead>"
    caption = f"<caption>{title}</caption>" if title else ""
    wide = " class=wide" if len(rows[0]) > 5 else ""
    return f'<div class="scroll"><table{wide}>{caption}{head}<tbody>{"".join(body)}</tbody></table></div>'


_SECTIONS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Sources", _sources),
    ("Dropped", _dropped),
    ("Lengths", _lengths),
    ("Languages", _scripts),
    ("Pictures", _pictures),
    ("Near duplicates", _duplicates),
    ("Speed", _speed),
    ("At the paper's size", _paper_size),
)
