"""A look at some records of each source before the long run: what would be dropped, where, and why.

In: a `CorpusConfig`. Out: lines for a person, and whether every source has a record that stays. Nothing is written and
nothing is fetched.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m6.config import UserError
from m6.corpus.clean import Cleaner, rules_exist
from m6.corpus.config import CorpusConfig, SourceConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.fetch.pictures import fetch_images
from m6.corpus.read.files import compression
from m6.corpus.sources import Part, reader

RECORDS = 1_000  # of each source
LIMITS = {
    "short title": "text.shortest_title",
    "short text": "text.shortest_text",
    "not Chinese": "text.smallest_chinese_share",
    "small image": "images.fewest_pixels",
    "large image": "images.most_pixels",
    "large image file": "images.most_bytes",
    "narrow image": "images.largest_aspect",
}
"""The field of a source that decides, by the reason of a drop."""
PLACES = 10  # parts that they are taken from, spread over the source
_AT_BYTE = re.compile(r"(?P<file>.+), byte (?P<byte>\d+)(?P<rest>.*)", re.DOTALL)
_PIECE = 2**20  # bytes


def check(config: CorpusConfig, seed: int = 0) -> Iterator[str]:
    """Lines that say what the first records of some parts of each source come to.

    Raises UserError as the long run would, and at the end for the sources of which no record stays.
    """
    rules_exist(config)
    empty = []
    for name, source in config.sources.items():
        parts = reader(source.kind).parts(name, source)
        cleaner = Cleaner(name, config)
        kept = _look(parts, cleaner, seed)
        records = sum(cleaner.tally.records.values())
        yield f"{name} ({source.kind}): {records:,} records read in {len(parts):,} parts, {kept:,} stay"
        drops = cleaner.tally.drops.items()
        for (_, reason), count in sorted(drops, key=lambda item: -item[1]):
            where, sample = cleaner.tally.samples[name, reason][0]
            said = " ".join(f"{_with_line(where)} {sample}".split())
            yield f"  {count:>6,} {reason}{_limit(reason, cleaner.rules)}: {said}"
        if not kept:
            empty.append(name)
    if empty:
        raise UserError(f"no record stays of {', '.join(empty)}; the lines above say why")


def _look(parts: list[Part], cleaner: Cleaner, seed: int) -> int:
    """How many stay of some records of some parts."""
    fetch = cleaner.config.fetch
    off = fetch.override({"enabled": False})  # of each address it says that it is not fetched
    places = parts[:: max(1, len(parts) // PLACES)][:PLACES]
    kept = 0
    for number, part in enumerate(places, start=1):
        wanted = RECORDS * number // len(places) - sum(cleaner.tally.records.values())
        items = itertools.islice(cleaner.read(part, seed), max(wanted, 0))
        texts = cleaner.texts(map(_without_addresses, items) if fetch.enabled else items)
        kept += len(cleaner.pictures(fetch_images(texts, Path(), off, cleaner.rules.images.most_bytes)))
    return kept


def _limit(reason: str, rules: SourceConfig) -> str:
    """The field that decides, with its value, if one alone does."""
    if reason not in LIMITS:
        return ""
    section, name = LIMITS[reason].split(".")
    return f" ({LIMITS[reason]} {getattr(getattr(rules, section), name)})"


def _with_line(where: str) -> str:
    """`file, byte 1024` as `file, line 17`, which an editor can go to. To count lines is too slow for a long run."""
    found = _AT_BYTE.match(where)
    if not found or not Path(found["file"]).is_file() or compression(found["file"]):
        return where
    with open(found["file"], "rb") as file:
        pieces = iter(partial(file.read, _PIECE), b"")
        left, lines = int(found["byte"]), 1
        for piece in pieces:
            lines += piece[:left].count(b"\n")
            left -= len(piece)
            if left <= 0:
                break
    return f"{found['file']}, line {lines}{found['rest']}"


def _without_addresses(item: Document | Drop) -> Document | Drop:
    """Less the pictures that will have to be fetched, of which nothing can be said yet."""
    if isinstance(item, Drop):
        return item
    return Document(**{**item, "images": [image for image in item["images"] if image["bytes"]]})
