"""Poems and poets of `chinese-poetry`, in simplified script.

Poems are cleaned as those of the bundled sample are (`m6/corpus/starter/verses.py`): what the bundle has too comes out
the same, and goes as a duplicate. The split is by author, and authors of the bundle stay on their side of it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from m6.corpus.drop import Drop
from m6.corpus.starter import poem_rows
from m6.corpus.starter.packages import SPLIT_BY_HASH, Entry
from m6.corpus.starter.packages.archive import Archive, PackageError
from m6.corpus.starter.packages.wrapped import close_up
from m6.corpus.starter.verses import AUTHORS, clean_poem

UNKNOWN = "佚名"  # of many hands: never held out
BOOKS: dict[str, dict[str, str]] = {
    "songci": {"dynasty": "宋", "collection": "全宋词", "form": "词"},
    "huajianji": {"dynasty": "五代", "collection": "花间集", "form": "词"},
    "nantang": {"dynasty": "五代", "collection": "南唐二主词", "form": "词"},
    "nalanxingde": {"dynasty": "清", "collection": "纳兰词", "form": "词"},
    "yuanqu": {"dynasty": "元", "collection": "元曲", "form": "曲"},
    "shijing": {"dynasty": "先秦", "collection": "诗经", "form": "四言诗"},
    "chuci": {"dynasty": "先秦", "collection": "楚辞", "form": "楚辞"},
    "caocaoshiji": {"dynasty": "汉", "collection": "曹操诗集", "author": "曹操"},
    "poet.tang": {"dynasty": "唐", "collection": "全唐诗"},
    "poet.song": {"dynasty": "宋", "collection": "全宋诗"},
}
"""By a part of a file's name, what the file does not say itself."""
SHORTEST_BIOGRAPHY = 15  # characters

_NO_END = re.compile(r"(?<=[\u4e00-\u9fff])$")
_ASCII_MARKS = str.maketrans("?!,;:", "？！，；：")


def poems(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The poems of a file, one couplet or sentence a line."""
    book = next(values for part, values in BOOKS.items() if part in name)
    for number, raw in enumerate(_records(archive, name), start=1):
        row = _row(raw, book)
        if row is None:
            yield Drop("fragment or unclear poem", f"{name}, poem {number}", str(raw)[:80])
            continue
        attributes = tuple((field, row[field]) for field in ("author", "form", "dynasty", "collection"))
        text, author = "\n".join(row["couplets"]), row["author"]
        yield Entry(text, row["title"], author, split_of(author), attributes=attributes)


def poets(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The biographies of a file."""
    dynasty = "唐" if ".tang" in name else "五代" if "nantang" in name else "宋"
    for number, raw in enumerate(_records(archive, name), start=1):
        author, text = raw.get("name"), raw.get("desc") or raw.get("description")
        if not isinstance(author, str) or not isinstance(text, str):
            yield Drop("no biography", f"{name}, poet {number}", str(raw)[:80])
            continue
        author, text = _simplified()(f"{author.strip()}\n{text}").split("\n", 1)
        text = _biography(text, author)
        if len(text) < SHORTEST_BIOGRAPHY:
            yield Drop("no biography", f"{name}, poet {number}", f"{author} {text}")
            continue
        group = AUTHORS.get(author, author)
        yield Entry(text, author, group, split_of(group), attributes=(("author", group), ("dynasty", dynasty)))


def split_of(author: str) -> str:
    """The side of an author; one who is not in the bundle is split by a hash of the name."""
    return "train" if author == UNKNOWN else _splits().get(author, SPLIT_BY_HASH)


def _row(raw: dict[str, Any], book: dict[str, str]) -> dict[str, Any] | None:
    """The poem in the form of the bundle's rows; None if it is not whole."""
    lines = raw.get("paragraphs") or raw.get("content") or raw.get("para")
    title = raw.get("title") or ""
    if book.get("form") == "词" and raw.get("rhythmic"):
        title = raw["rhythmic"]
    if not isinstance(lines, list) or not isinstance(title, str) or not all(isinstance(line, str) for line in lines):
        return None
    lines = [_NO_END.sub("。", line.strip().translate(_ASCII_MARKS)) for line in lines]
    title = re.sub(r"\s*[・/]\s*", "·", title)
    poem = {"author": UNKNOWN, **book, "title": title, "paragraphs": lines}
    if isinstance(raw.get("author"), str) and raw["author"].strip():
        poem["author"] = raw["author"]
    return clean_poem(poem, _simplified())


def _biography(text: str, author: str) -> str:
    """One text of it: "--" stands for the poet's name, which others write before a colon and some leave out."""
    text = re.sub(r"\s*\n\s*", "\n", text.strip())
    text = text.removeprefix("--").removeprefix(author + "：").lstrip()
    text = author + text if text.startswith(("，", "(", "（")) else text
    return close_up(text)


def _records(archive: Archive, name: str) -> list[dict[str, Any]]:
    try:
        records = json.loads(archive.read(name))
    except ValueError as error:
        raise PackageError(f"{name}: {error}") from None
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


@functools.cache
def _splits() -> dict[str, str]:
    return {row["author"]: row["split"] for row in poem_rows()}


@functools.cache
def _simplified() -> Callable[[str], str]:
    import opencc

    convert: Callable[[str], str] = opencc.OpenCC("t2s").convert
    return convert
