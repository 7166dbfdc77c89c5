"""The paper's corpus: its table, and what the same amounts would take at the rates of a run.

The table (M6, section 2; arXiv 2103.00823) is recalled: written from memory and not checked against the print, but that
its columns add up. The totals of images, tokens and bytes are confirmed by public sources about the paper.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table."""

    source: str
    modality: str
    images: float  # millions
    tokens: float  # thousand millions
    passages: float  # millions
    image_size: float  # TB
    text_size: float  # GB


TABLE = (
    Row("Encyclopedia", "plain text", 0, 31.4, 34.0, 0, 65.1),
    Row("Community QA", "plain text", 0, 13.9, 113.0, 0, 28.8),
    Row("Forum discussion", "plain text", 0, 8.7, 39.0, 0, 18.1),
    Row("Common Crawl", "plain text", 0, 40.3, 108.7, 0, 83.3),
    Row("Encyclopedia", "image and text", 6.5, 7.9, 10.4, 0.1, 15.0),
    Row("Crawled webpages", "image and text", 46.0, 9.1, 106.0, 1.5, 70.0),
    Row("E-commerce", "image and text", 8.0, 0.5, 8.5, 0.3, 12.2),
)
TOTAL = Row("total", "", 60.5, 111.8, 419.5, 1.9, 292.4)  # as printed; the rows add up to it but for rounding

STAGES = ("read", "text", "images", "keys", "duplicates", "write")
ASSUMPTIONS = (
    "Each stage is taken at the rate of this run, once a byte and once a record or picture: the lower figure counts for"
    " each stage the cheaper of the two, the upper one the dearer. It is assumed that the paper's sizes are what is"
    " read (how much it read before cleaning is not known), that its records and pictures are like these, and that the"
    " rates of a core hold on many cores and for much more data; fetching from the web and the network are left out."
)


def extrapolation(stages: dict[str, dict[str, Any]], sources: list[dict[str, Any]]) -> dict[str, Any]:
    """Core-hours of each stage for the paper's amounts: `low` and `high`, in all and by stage. `missing` are the stages
    that this run has not measured; what they would take is not in the sums."""
    amounts = _amounts(sources)
    hours = {}
    for stage in STAGES:
        measured = stages.get(stage, {})
        found = [
            measured["seconds"] * there / measured[name] / 3600
            for name, there in zip(("bytes", "items"), amounts[stage], strict=True)
            if measured.get(name)
        ]
        if found:
            hours[stage] = {"low": round(min(found), 3), "high": round(max(found), 3)}
    return {
        "core_hours": {name: round(sum(row[name] for row in hours.values()), 3) for name in ("low", "high")},
        "stages": hours,
        "missing": [stage for stage in STAGES if stage not in hours],
        "assumptions": ASSUMPTIONS,
    }


def _amounts(sources: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Bytes and items of the paper's corpus, by stage. Pictures are written at this run's size."""
    text, found = TOTAL.text_size * 1e9, TOTAL.image_size * 1e12
    passages, images = TOTAL.passages * 1e6, TOTAL.images * 1e6
    num_images = sum(row["images"] for row in sources)
    written = images * sum(row["image_bytes"] for row in sources) / num_images if num_images else 0.0
    return {
        "read": (text + found, passages),
        "text": (text, passages),
        "images": (found, images),
        "keys": (text, passages),
        "duplicates": (text, passages),
        "write": (text + written, passages),
    }
