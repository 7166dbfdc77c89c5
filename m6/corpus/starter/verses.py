"""Classical poems in simplified script, from the package tarball to rows of the bundle.

In: the JSON files of `chinese-poetry` by name. Out: rows with `title`, `author`, `dynasty`, `form`, `collection`,
`couplets` (each ends with its punctuation) and `split`.

The well-known collections come first, whole as far as they are clean; the Complete Tang Poems fill the rest with
poems of even lines of 5 or 7 characters, in the order of a hash of their text. A poem that shares a couplet with an
earlier one is the same poem in another print and is left out. The split is by author.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import opencc

Row = dict[str, Any]

POEMS = 10_000
HELDOUT_SHARE = 0.05  # of all poems
MOST_HELDOUT_POEMS = 40  # of one author: the held-out part shall have many voices
LONGEST_TITLE = 20  # characters
LONGEST_POEM = 400  # characters
LINE_COUNTS = range(4, 17, 2)  # lines of a poem taken from the Complete Tang Poems

TANG = "全唐诗"
UNKNOWN = {"佚名", "无名氏", "不详", "无名", "失姓名", "无名子"}
AUTHORS = {  # emperors stand under temple name, title or own name
    "太宗皇帝": "李世民",
    "唐太宗": "李世民",
    "明皇帝": "李隆基",
    "唐玄宗": "李隆基",
    "唐明皇": "李隆基",
    "李后主": "李煜",
}
NOTES = re.compile(r"（.*?）|\(.*?\)|\[.*?\]|〖.*?〗|【.*?】|〔.*?〕")
NUMBER = re.compile(r"[\s·]+其?([一二三四五六七八九十百]+)$")
SENTENCE = re.compile(r"[^。？！；]+[。？！；]")
LINE = re.compile(r"[\u4e00-\u9fff]+[，、：。？！；]")
CHARACTERS = re.compile(r"[\u4e00-\u9fff]+")
CLEAN_TITLE = re.compile(r"[\u4e00-\u9fff]+(·[\u4e00-\u9fff]+)*")
CLEAN_TEXT = re.compile(r"(?:[\u4e00-\u9fff]+[，、：。？！；])+")
MISSING = set("囗")  # stands for a lost character


def poem_rows(files: dict[str, bytes]) -> list[Row]:
    """The poems of the bundle; `files` are the JSON files of the package by their path below `dist/`."""
    convert = opencc.OpenCC("t2s").convert
    rows: list[Row] = []
    couplets: set[str] = set()
    for row in _candidates(files, convert):
        if len(rows) == POEMS:
            break
        own = {"".join(CHARACTERS.findall(couplet)) for couplet in row["couplets"]}
        if couplets.isdisjoint(own):
            couplets |= own
            rows.append(row)
    heldout = _heldout_authors(rows)
    for row in rows:
        row["split"] = "heldout" if row["author"] in heldout else "train"
    return rows


def _candidates(files: dict[str, bytes], convert: Callable[[str], str]) -> Iterator[Row]:
    for raw in _collections(files):
        row = clean_poem(raw, convert)
        if row:
            yield row
    tang = [poem for name in sorted(files) if "/poet.tang." in name for poem in json.loads(files[name])]
    rows = [clean_poem({**poem, "collection": TANG, "dynasty": "唐"}, convert) for poem in tang]
    regular = [row for row in rows if row and row["form"][0] in "五七" and 2 * len(row["couplets"]) in LINE_COUNTS]
    yield from sorted(regular, key=lambda row: hashlib.sha256("".join(row["couplets"]).encode()).hexdigest())


def _collections(files: dict[str, bytes]) -> Iterator[Row]:
    """Poems of the well-known collections: `title`, `author`, `paragraphs`, `dynasty`, `collection`."""
    for file, collection in (("tangshisanbaishou", "唐诗三百首"), ("qianjiashi", "千家诗")):
        for section in json.loads(files[f"mengxue/{file}.json"])["content"]:
            for poem in section["content"]:
                dynasty = re.match(r"（(.)）", poem["author"])  # 千家诗 writes （宋）王安石
                cycle = isinstance(poem["paragraphs"][0], dict)  # 秋兴八首: eight poems under one title
                for part in poem["paragraphs"] if cycle else [poem]:
                    yield {
                        "title": " ".join([poem["chapter"], part.get("subchapter") or ""]),
                        "author": poem["author"],
                        "paragraphs": part["paragraphs"],
                        "collection": collection,
                        "dynasty": dynasty[1] if dynasty else "唐",
                    }
    for poem in json.loads(
        files["quantangshi/唐诗三百首.json"]
    ):  # other poems, and the wording of the Complete Tang Poems
        yield {**poem, "collection": "唐诗三百首", "dynasty": "唐"}
    for poem in json.loads(files["shuimotangshi/shuimotangshi.json"]):
        yield {**poem, "collection": "水墨唐诗", "dynasty": "唐"}
    for poem in json.loads(files["songci/宋词三百首.json"]):
        yield {**poem, "title": poem["rhythmic"], "collection": "宋词三百首", "dynasty": "宋", "form": "词"}


def clean_poem(raw: Row, convert: Callable[[str], str]) -> Row | None:
    """The row of a poem, or None if a character is missing, it has no title, or it is a fragment or too long."""
    text = re.sub(r"\s", "", "".join(raw["paragraphs"]))
    title, author, text = convert("\n".join((raw["title"], raw["author"], text))).split("\n")
    title = NUMBER.sub(r"·其\1", NOTES.sub("", title).strip())
    author = NOTES.sub("", author).strip()
    author = "佚名" if author in UNKNOWN else AUTHORS.get(author, author)
    text = NOTES.sub("", text)
    fragment = title == "句" or title.startswith("句·") or "失题" in title
    if fragment or not CLEAN_TITLE.fullmatch(title) or len(title) > LONGEST_TITLE or not CLEAN_TITLE.fullmatch(author):
        return None
    if not CLEAN_TEXT.fullmatch(text) or MISSING & set(text) or len(text) > LONGEST_POEM:
        return None
    lines = LINE.findall(text)
    form = raw.get("form") or _form(CHARACTERS.findall(text))
    couplets = _pairs(lines) if form[0] in "五七" else SENTENCE.findall(text)
    if len(lines) < 2 or len("".join(couplets)) != len(text):
        return None
    return {
        "title": title,
        "author": author,
        "dynasty": raw["dynasty"],
        "form": form,
        "collection": raw["collection"],
        "couplets": couplets,
    }


def _pairs(lines: list[str]) -> list[str]:
    """Two lines a couplet; prints that put a comma at its end get a full stop."""
    pairs = [first + second for first, second in zip(lines[::2], lines[1::2], strict=True)]
    return [pair[:-1] + "。" if pair[-1] in "，、：" else pair for pair in pairs]


def _form(lines: list[str]) -> str:
    """The form by length and number of lines alone: tones, which tell a 律诗 from a 古诗 of eight lines, are not
    looked at."""
    lengths = {len(line) for line in lines}
    if lengths not in ({5}, {7}) or len(lines) % 2:
        return "杂言诗"
    kind = {4: "绝句", 8: "律诗"}.get(len(lines), "古诗")
    return {5: "五言", 7: "七言"}[lengths.pop()] + kind


def _heldout_authors(rows: list[Row]) -> set[str]:
    """Whole authors in the order of a hash of their names, until the share is reached. Anonymous poems are of many
    unknown hands, so they can not be held out as one author."""
    counts = Counter(row["author"] for row in rows)
    wanted = HELDOUT_SHARE * len(rows)
    chosen: set[str] = set()
    held = 0
    for author in sorted(counts, key=lambda author: hashlib.sha256(author.encode()).hexdigest()):
        if author != "佚名" and counts[author] <= MOST_HELDOUT_POEMS and held + counts[author] <= wanted:
            chosen.add(author)
            held += counts[author]
    return chosen
