"""COCO-CN: pictures of COCO 2014 with one or two Chinese sentences each; 18,341, 1,000 and 1,000.

    coco-cn_train.txt, coco-cn_val.txt, coco-cn_test.txt   COCO_train2014_000000000101, a line each
    imageid.human-written-caption.txt                      COCO_train2014_000000000101#0 <tab> sentence
    train2014/, val2014/                                   COCO_train2014_000000000101.jpg

The archive has all texts in a folder coco-cn-version1805v1.1; pictures may lie beside it or in it, or in images/.
Offered on request by its authors (https://github.com/li-xirong/coco-cn). Of its files of sentences those that people
wrote are read, as others do who measure on it (https://github.com/OFA-Sys/Chinese-CLIP/issues/175).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.folder import COCO_PLACES, Pictures
from m6.tasks.formats.lines import columns, lines

SUMMARY = "COCO-CN"
TASKS = ("captioning", "retrieval")
FIELD = {"captioning": "captions", "retrieval": "texts"}

_CAPTIONS = "imageid.human-written-caption.txt"
_ARCHIVE = "coco-cn-version1805v1.1/"
FILES = {
    split: tuple((f"{place}coco-cn_{name}.txt", f"{place}{_CAPTIONS}") for place in ("", _ARCHIVE))
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))
}


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a picture of the split, in its order."""
    names, captions = files
    said: dict[str, list[str]] = {}
    for number, name, caption in columns(captions):
        picture, mark, _ = name.partition("#")
        if not mark:
            raise UserError(f"{captions}, line {number}: no name of the form NAME#0 before the tab")
        said.setdefault(picture, []).append(caption)
    pictures = Pictures(folder, COCO_PLACES + (tuple(_ARCHIVE + place for place in COCO_PLACES)))
    for number, line in lines(names):
        name, where = line.strip(), f"{names}, line {number}"
        if name not in said:
            raise UserError(f"{where}: {captions.name} has no sentence of {name}")
        image = pictures.find((f"{name}.jpg",), where)
        yield f"{names.name} line {number}", {"image": image, FIELD[task]: said[name]}
