"""Emoji pictures with Chinese names and keywords, from the package tarballs to rows of the bundle.

In: the members of `emoji-datasource-google` (pictures and their categories) and of the two CLDR annotation packages
(Chinese names and keywords). Out: one row a picture (dict, see `picture_rows`) and the bytes of its PNG, untouched.

Skin tones are left out. Where two names share the very same picture (the flags of Norway and of Bouvet Island), the
older, then the shorter name keeps it. The split is by concept: all variants of a name fall on the same side.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import unicodedata
from collections import defaultdict
from typing import Any

import numpy as np
from PIL import Image

from m6.corpus.dedup.connected import connect
from m6.corpus.images.colour import main_colour

Row = dict[str, Any]
Words = dict[str, dict[str, list[str]]]  # by emoji, its entry in CLDR: `tts` is the name, `default` the keywords

HELDOUT_SHARE = 0.1  # of the pictures of each category
LARGEST_HELDOUT_GROUP = 4  # a large family of variants (arrows, families) would fill the held-out part of its category

CATEGORIES = {
    "Smileys & Emotion": "表情",
    "People & Body": "人物",
    "Food & Drink": "食物",
    "Activities": "活动",
    "Objects": "物品",
    "Symbols": "符号",
    "Flags": "旗帜",
}
SUBCATEGORIES = {  # finer than the category, or better placed elsewhere
    "transport-ground": "交通",
    "transport-water": "交通",
    "transport-air": "交通",
    "sky & weather": "天气",
    "time": "时间",
    "hotel": "物品",
    "plant-flower": "植物",
    "plant-other": "植物",
    "food-fruit": "水果",
    "food-vegetable": "蔬菜",
    "drink": "饮料",
    "dishware": "物品",
    "clothing": "衣物",
    "musical-instrument": "乐器",
    "hand-fingers-open": "手势",
    "hand-fingers-partial": "手势",
    "hand-single-finger": "手势",
    "hand-fingers-closed": "手势",
    "hands": "手势",
    "hand-prop": "手势",
    "body-parts": "身体",
    "person-symbol": "符号",
    "heart": "爱心",
}
FALLBACKS = {"Animals & Nature": "动物", "Travel & Places": "地点"}

GENDERS = {"1F468": "1F9D1", "1F469": "1F9D1"}  # man, woman: person
SIGNS = {"2640", "2642", "27A1", "FE0F", "200D"}  # ♀ ♂ ➡ (facing right), variation selector, joiner
COUNTERPARTS = (  # gender and age variants that have code points of their own
    "👦👧🧒👶",
    "👨👩🧑🧔👱",
    "👴👵🧓",
    "🤴👸🫅",
    "🎅🤶",
    "💃🕺",
    "👫👬👭",
    "🤰🫃🫄",
    "🤵👰",
)
VARIANT_WORDS = re.compile(
    "男人|女人|男子|女子|男生|女生|男孩|女孩|男|女|成人|的人|者|夫$|妇$|面向右边|朝[左右]|向[左右上下]|[左右上下]"
    "|按钮|微笑的|喷水的|子?[脸头]$|子$|型$|打开的|合上的|迎面驶来的|浅|粉红"
    "|[红橙黄绿蓝紫粉棕褐黑白灰青金银铜]色?|的|[大中小]|: ?.*$"
)


def picture_rows(emoji: bytes, words: Words, images: dict[str, bytes]) -> list[Row]:
    """Rows of the bundle in the order of Unicode: `file`, `emoji`, `name`, `keywords`, `category`, `colour`,
    `colour_share`, `group`, `split`.

    Args:
        emoji: `emoji.json` of the picture package.
        words: the annotations of CLDR.
        images: by file name, the PNG of 64 x 64 pixels.
    """
    entries = [
        entry
        for entry in sorted(json.loads(emoji), key=lambda entry: entry["sort_order"])
        if entry["has_img_google"] and entry["category"] != "Component"
    ]
    rows = [_row(entry, words, images) for entry in _one_a_picture(entries, words, images)]
    for row, group in zip(rows, _groups(rows), strict=True):
        row["group"] = group
    heldout = _heldout(rows)
    for row in rows:
        row["split"] = "heldout" if row["group"] in heldout else "train"
        del row["codes"]
    return rows


def _row(entry: Row, words: Words, images: dict[str, bytes]) -> Row:
    text = _characters(entry["unified"])
    word = _words(text, words)
    name = _name(word["tts"][0])
    pixels = np.asarray(Image.open(io.BytesIO(images[entry["image"]])).convert("RGBA"))
    colour, share = main_colour(pixels)
    category = SUBCATEGORIES.get(entry["subcategory"]) or CATEGORIES.get(entry["category"])
    return {
        "file": entry["image"],
        "emoji": text,
        "name": name,
        "keywords": [keyword for keyword in word["default"] if keyword != name],
        "category": category or FALLBACKS[entry["category"]],
        "colour": colour,
        "colour_share": round(share, 2),
        "codes": entry["unified"],
    }


def _name(name: str) -> str:
    """CLDR writes "旗: 法国" and "按键: 5"; people say 法国旗帜 and 按键5."""
    if name.startswith("旗: "):
        return name.removeprefix("旗: ") + "旗帜"
    if name.startswith("按键: "):
        return name.replace(": ", "")
    return name.replace(": ", "：")


def _characters(codes: str) -> str:
    return "".join(chr(int(code, 16)) for code in codes.split("-"))


def _words(text: str, words: Words) -> dict[str, list[str]]:
    return words[text] if text in words else words[text.replace("\ufe0f", "")]


def _one_a_picture(entries: list[Row], words: Words, images: dict[str, bytes]) -> list[Row]:
    best: dict[bytes, tuple[float, int, int]] = {}
    for entry in entries:
        name = _name(_words(_characters(entry["unified"]), words)["tts"][0])
        rank = (float(entry["added_in"]), len(name), entry["sort_order"])
        picture = images[entry["image"]]
        best[picture] = min(best.get(picture, rank), rank)
    kept = {rank[2] for rank in best.values()}
    return [entry for entry in entries if entry["sort_order"] in kept]


def _groups(rows: list[Row]) -> list[str]:
    """The concept of each row, named by its first member. Two rows are of one concept when their code points differ
    only in gender or direction, or their names only in gender, direction, colour, size or a view (`VARIANT_WORDS`)."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        codes = [GENDERS.get(code, code) for code in row["codes"].split("-")]
        base = "-".join(code for code in codes if code not in SIGNS)
        by_key["codes " + base].append(index)
        flag = row["category"] == "旗帜"
        core = row["name"] if flag else (VARIANT_WORDS.sub("", row["name"].replace("：", ": ")) or row["name"])
        by_key["name " + core].append(index)
        for number, counterparts in enumerate(COUNTERPARTS):
            if row["emoji"][0] in counterparts and len(codes) == 1:
                by_key[f"counterparts {number}"].append(index)
    pairs = np.array([(members[0], other) for members in by_key.values() for other in members], np.int64)
    return [rows[root]["name"] for root in connect(np.arange(len(rows)), *pairs.T)]


def _heldout(rows: list[Row]) -> set[str]:
    """Concepts held out: of each category, in the order of a hash of their names, until its share is reached."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row["group"]].append(row)
    chosen: set[str] = set()
    for category in sorted({row["category"] for row in rows}):
        groups = {group: found for group, found in members.items() if found[0]["category"] == category}
        wanted = HELDOUT_SHARE * sum(map(len, groups.values()))
        count = 0
        for group in sorted(groups, key=lambda group: hashlib.sha256(group.encode()).hexdigest()):
            if len(groups[group]) <= LARGEST_HELDOUT_GROUP and count + len(groups[group]) <= wanted + 0.5:
                chosen.add(group)
                count += len(groups[group])
    return chosen


def english_name(emoji: str, words: Words) -> str:
    """The English name of an emoji in CLDR, in small letters and hyphens; of a flag or key without its kind."""
    entry = words.get(emoji) or words.get(emoji.replace("\ufe0f", "")) or {"tts": [""]}
    plain = unicodedata.normalize("NFKD", entry["tts"][0].lower()).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")
