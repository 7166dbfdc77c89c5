"""Drawings with Chinese words: OpenMoji and IconPark, from SVG to PNG.

Words, categories and concepts of OpenMoji are those of the bundled emoji (from Unicode CLDR), which Noto has drawn: so
both draw the same thing, and both hold out the same ones. IconPark brings words of its own.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from m6.config import UserError
from m6.corpus.dedup.connected import connect
from m6.corpus.document import Image, Question
from m6.corpus.drop import Drop
from m6.corpus.starter import emoji_rows
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive, PackageError
from m6.corpus.starter.packages.concepts import concept

KEYWORDS = 5  # in a text
BRANDS = "品牌"  # trade marks, not things

_CHINESE = re.compile("[\u4e00-\u9fff]")
_VARIANT = re.compile(r"(-(one|two|three|four|five|six|seven|eight|nine|ten|\d+))+$")
_TEMPLATE = re.compile(r"IconWrapper\)\('([\w-]+)'.*?\breturn\b(.*?);\s*\}\);", re.DOTALL)
_PIECE = re.compile(r"'((?:[^'\\]|\\.)*)'|props\.(\w+(?:\[\d\])?)")
_PROPERTIES = {
    "size": "192",
    "strokeWidth": "4",
    "strokeLinecap": "round",
    "strokeLinejoin": "round",
    "id": "icon",
    "colors[0]": "#333",  # outline
    "colors[1]": "#2F88FF",  # ground
    "colors[2]": "#FFF",  # inner outline
    "colors[3]": "#43CCF8",  # inner ground
}
"""What IconPark calls its theme of many colours."""


def openmoji(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """A drawing that the bundle has words for; skin tones and OpenMoji's own additions are passed over."""
    row = rows_by_code().get(code_of(name.rpartition("/")[2].removesuffix(".svg").split("-")))
    if row is None:
        return
    try:
        image = render(archive.read(name).decode(), archive.drawn)
    except ValueError as error:
        yield Drop("not drawable", name, str(error)[:80])
        return
    yield Entry(
        words_of(row["name"], row["keywords"]),
        row["name"],
        row["group"],
        row["split"],
        (image,),
        tuple(row["keywords"]),
        what_is_it(row["name"], row["category"], emoji_categories()),
        (("emoji", row["emoji"]), ("category", row["category"])),
    )


def iconpark(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """A line icon in two colours, with its title, tags and category."""
    icons, groups, categories = _icons(archive)
    try:
        key, svg = icon_svg(archive.read(name).decode())
        icon = icons[key]
        image = render(svg, archive.drawn)
    except (ValueError, KeyError) as error:
        yield Drop("not drawable", name, str(error)[:80])
        return
    title, category = _icon_title(icon["title"]), icon["categoryCN"]
    if category == BRANDS or not _CHINESE.search(title):
        yield Drop("trade mark" if category == BRANDS else "no Chinese title", name, title)
        return
    tags = tuple(dict.fromkeys(tag.strip() for tag in icon["tag"] if tag.strip() not in ("", title)))
    group, split = concept(title, groups[key])
    questions = what_is_it(title, category, categories)
    yield Entry(words_of(title, tags), title, group, split, (image,), tags, questions, (("category", category),))


def render(svg: str, side: int) -> Image:
    """The picture, `side` pixels wide. ValueError if it is no SVG; UserError if the library for it is missing."""
    try:
        resvg_py = importlib.import_module("resvg_py")  # without type information
    except ImportError:
        raise UserError('drawing SVG needs resvg-py: pip install "open-m6[starter]"') from None
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, skip_system_fonts=True)  # the same on every machine
    return Image(bytes=bytes(png), width=side, height=side, offset=0)


def icon_svg(script: str) -> tuple[str, str]:
    """Name and SVG of an icon, out of the JavaScript function that puts it together from strings and properties:
    `return '<svg width="' + props.size + '">'`. ValueError if that is not what the script does."""
    found = _TEMPLATE.search(script)
    if not found:
        raise ValueError("not the script of an icon")
    pieces = []
    for piece in _PIECE.finditer(found[2]):
        text, name = piece.groups()
        if name and name not in _PROPERTIES:
            raise ValueError(f"no property {name} is known")
        pieces.append(_PROPERTIES[name] if name else text.replace("\\'", "'"))
    return found[1], "".join(pieces)


def what_is_it(name: str, category: str, categories: list[str]) -> tuple[Question, ...]:
    """Questions about a picture that its name and category answer."""
    others = [other for other in categories if other != category]
    other = others[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(others)]
    return (
        Question(kind="what", question="这是什么？", answer=name),
        Question(kind="category", question="这是哪一类？", answer=category),
        Question(kind="yes_no", question=f"是{category}吗？", answer="是"),
        Question(kind="yes_no", question=f"是{other}吗？", answer="否"),
    )


def words_of(name: str, keywords: list[str] | tuple[str, ...]) -> str:
    return "。".join(filter(None, (name, "、".join(keywords[:KEYWORDS]))))


@functools.cache
def emoji_categories() -> list[str]:
    return sorted({row["category"] for row in emoji_rows()})


@functools.cache
def rows_by_code() -> dict[str, dict[str, Any]]:
    return {code_of([f"{ord(character):X}" for character in row["emoji"]]): row for row in emoji_rows()}


def code_of(points: list[str]) -> str:
    """Code points without the variation selector, which some write and others do not."""
    return "-".join(point.lstrip("0") for point in points if point != "FE0F")


def _icon_title(title: str) -> str:
    """Without the number of a variant (儿童1) and without hyphens (左-箭头)."""
    title = re.sub(r"(?<=[\u4e00-\u9fff])\d+$", "", title.strip())
    return re.sub(r"-(?=[\u4e00-\u9fff])", "", title).replace("-", " ")


@functools.lru_cache(maxsize=1)
def _icons(archive: Archive) -> tuple[dict[str, dict[str, Any]], dict[str, str], list[str]]:
    """All icons by name, their concepts, and their categories."""
    try:
        icons = {icon["name"]: icon for icon in json.loads(archive.read("icons.json"))}
        categories = sorted({icon["categoryCN"] for icon in icons.values()} - {BRANDS})
        return icons, _icon_groups(icons), categories
    except (ValueError, TypeError, KeyError) as error:
        raise PackageError(f"icons.json: {error}") from None


def _icon_groups(icons: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The concept of each icon, named by its first member: apple and apple-one are one, as are icons of one title."""
    names = list(icons)
    alike: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names):
        alike["name " + _VARIANT.sub("", name)].append(number)
        alike["title " + _icon_title(icons[name]["title"])].append(number)
    pairs = np.array([(members[0], other) for members in alike.values() for other in members], np.int64).reshape(-1, 2)
    roots = connect(np.arange(len(names)), *pairs.T)
    return {name: _icon_title(icons[names[root]]["title"]) for name, root in zip(names, roots, strict=True)}
