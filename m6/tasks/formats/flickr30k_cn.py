"""Flickr30k-CN: the pictures of Flickr30k with five Chinese sentences each; 29,783, 1,000 and 1,000.

Translated by a machine, the test split by people, in words apart by blanks and there with parts of speech:

    flickr30kzhbbosontrain/TextData/seg.flickr30kzhbbosontrain.caption.txt   1000092795#zhb#0 两 个 年轻 人 …
    flickr30kzhbbosonval/…, flickr30kzhmbosontest/…                          1007129816#zhm#0 一个:m 男人:n …

or Flickr30k-CNA, all by people, `1000092795#0 <tab> 两个年轻人…`:

    train/flickr30k_cna_train.txt, val/flickr30k_cna_val.txt, test/flickr30k_cn_test.txt

Pictures, `1000092795.jpg`, lie in flickr30k-images/, images/ or flickr30k/images/ beside them, and are to be had from
the makers of Flickr30k. Texts of the first kind from https://github.com/li-xirong/cross-lingual-cap, of the second from
https://zero.so.com/download.html, read as https://github.com/IDEA-CCNL/Fengshenbang-LM reads them. Two blanks stand for
a comma in what a machine translated, as those found who turned it into Chinese-CLIP's form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.coco_cn import FIELD
from m6.tasks.formats.folder import FLICKR_PLACES, Pictures
from m6.tasks.formats.lines import lines

SUMMARY = "Flickr30k-CN"
TASKS = ("captioning", "retrieval")


def _segmented(name: str) -> tuple[str, ...]:
    return (f"{name}/TextData/seg.{name}.caption.txt",)


FILES = {
    "train": (_segmented("flickr30kzhbbosontrain"), ("train/flickr30k_cna_train.txt",), ("flickr30k_cna_train.txt",)),
    "validation": (_segmented("flickr30kzhbbosonval"), ("val/flickr30k_cna_val.txt",), ("flickr30k_cna_val.txt",)),
    "test": (
        _segmented("flickr30kzhmbosontest"),
        ("test/flickr30k_cn_test.txt",),
        ("flickr30k_cn_test.txt",),
        ("flickr30k_cna_test.txt",),
    ),
}
_LINE = re.compile(r"(?P<name>[^#\s]+)#(?P<kind>\S*)(?P<gap>\s)(?P<text>.*)")
_SPEECH = re.compile(r":[A-Za-z]+\d*$")


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a picture, in the order in which they are first spoken of."""
    (captions,) = files
    said: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    for number, line in lines(captions):
        found = _LINE.fullmatch(line.strip())
        text = _sentence(found["kind"], found["gap"], found["text"]) if found else ""
        if not found or not text:
            raise UserError(f"{captions}, line {number}: no line of the form NAME#0 sentence")
        said.setdefault(found["name"], []).append(text)
        first.setdefault(found["name"], number)
    pictures = Pictures(folder, FLICKR_PLACES)
    for name, texts in said.items():
        image = pictures.find((name if name.endswith(".jpg") else f"{name}.jpg",), f"{captions}, line {first[name]}")
        yield f"{captions.name} {name}", {"image": image, FIELD[task]: texts}


def _sentence(kind: str, gap: str, text: str) -> str:
    """The sentence itself: words put together, without their parts of speech."""
    if kind.startswith("zhm"):
        return "".join(_SPEECH.sub("", word) for word in text.split())
    if kind.startswith("zhb"):
        return "，".join("".join(part.split()) for part in re.split(r"\s{2,}", text.strip()))
    return text.strip()
