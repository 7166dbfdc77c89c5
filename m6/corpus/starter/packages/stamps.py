"""Stamps of Tux Paint: cut-outs of photographs and drawings, each with a sentence in many languages.

A stamp is a picture (X.png or X.svg) and a text (X.txt): a line in English, then lines as `zh_CN.utf8=一只苹果。`.
Where the text in simplified script is missing, that of Taiwan is turned to simplified script.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

from m6.corpus.document import Image, Question
from m6.corpus.drop import Drop
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive
from m6.corpus.starter.packages.concepts import concept
from m6.corpus.starter.packages.drawings import render

CATEGORIES = {
    "animals": "动物",
    "clothes": "衣物",
    "food": "食物",
    "food/fruit": "水果",
    "food/vegetables": "蔬菜",
    "hobbies": "爱好",
    "hobbies/music": "乐器",
    "household": "家居用品",
    "medical": "医疗",
    "military": "军事",
    "naturalforces": "自然现象",
    "people": "人物",
    "plants": "植物",
    "seasonal": "节日",
    "space": "太空",
    "sports": "运动",
    "symbols": "符号",
    "town": "城镇",
    "vehicles": "交通工具",
}
WRONG = {"animals/insects/xanthia": "a moth, called glue", "symbols/shapes/speech_balloon": "called a hot-air balloon"}

LONGEST_NAME = 10  # characters; what is longer is a sentence, and no answer

_ROOT = "usr/share/tuxpaint/stamps/"
_COUNTED = re.compile(
    r"^[一二两三四五六七八九十]+[只个朵头匹条棵辆架座把张件顶块片串根位艘颗枚支双对群副瓶杯株种台幅面]"
)


def tuxpaint(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """The stamp whose text this file is."""
    stem = name.removesuffix(".txt")
    text = _chinese(archive.read(name).decode("utf-8", "replace"))
    if not text or stem.removeprefix(_ROOT) in WRONG:
        yield Drop("wrong text" if text else "no Chinese text", name, text)
        return
    try:
        yield _entry(stem, text, _picture(archive, stem))
    except ValueError as error:
        yield Drop("not drawable", name, str(error)[:80])


def _entry(stem: str, text: str, image: Image) -> Entry:
    title = _COUNTED.sub("", re.split("[。！？，!?]", text)[0]).strip()
    folder = stem.removeprefix(_ROOT)
    category = CATEGORIES.get("/".join(folder.split("/")[:2])) or CATEGORIES.get(folder.split("/")[0], "其他")
    group, split = concept(title, title)
    what = Question(kind="what", question="这是什么？", answer=title)
    which = Question(kind="category", question="这是哪一类？", answer=category)
    questions = (what, which) if len(title) <= LONGEST_NAME else (which,)
    return Entry(text, title, group, split, (image,), (), questions, (("category", category),))


def _picture(archive: Archive, stem: str) -> Image:
    """ValueError if there is none, or if it has no size."""
    if stem + ".png" in archive:
        return Image(bytes=archive.read(stem + ".png"), width=0, height=0, offset=0)
    if stem + ".svg" in archive:
        return render(archive.read(stem + ".svg").decode(), archive.drawn)
    raise ValueError("no picture")


def _chinese(text: str) -> str:
    """The sentence in simplified script; empty if there is none."""
    lines = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("zh_") and "=" in line)
    sentence = lines.get("zh_CN.utf8", "").strip() or _simplified()(lines.get("zh_TW.utf8", "").strip())
    return sentence.rstrip("，")


@functools.cache
def _simplified() -> Callable[[str], str]:
    import opencc

    convert: Callable[[str], str] = opencc.OpenCC("tw2sp").convert
    return convert
