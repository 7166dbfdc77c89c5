"""MUGE text-to-image, ECommerce-T2I: pictures of products with a title each; 90,000, 5,000 and 5,000.

    T2I_train.text.tsv   image id <tab> title; T2I_train.txt.tsv in the organiser's description
    T2I_train.img.tsv    image id <tab> base64 of the picture; there is none of the test split

Files and columns as the baseline has them (https://github.com/MUGE-2021/image-generation-baseline, README.md and
data/t2i_dataset.py) and as the organiser describes them
(https://github.com/XMK233/Tianchi_MUGE/blob/master/ECommerce-T2I/readme.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.lines import columns
from m6.tasks.formats.table import picture_of, picture_table

SUMMARY = "MUGE text-to-image (ECommerce-T2I)"
TASKS = ("text_to_image", "captioning", "retrieval")
FILES = {
    "train": (("T2I_train.text.tsv", "T2I_train.img.tsv"), ("T2I_train.txt.tsv", "T2I_train.img.tsv")),
    "validation": (("T2I_val.text.tsv", "T2I_val.img.tsv"), ("T2I_val.txt.tsv", "T2I_val.img.tsv")),
    "test": (("T2I_test.text.tsv",), ("T2I_test.txt.tsv",)),
}


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a title; in the test split without a picture."""
    titles, pictures = files[0], files[1] if len(files) > 1 else None
    if pictures is None and task != "text_to_image":
        raise UserError(f"{titles}: the pictures of the test split are not told; take validation")
    table = picture_table(pictures) if pictures else {}
    for number, name, title in columns(titles):
        image = picture_of(table, pictures, name, f"{titles}, line {number}") if pictures else None
        field, value = {
            "text_to_image": ("text", title),
            "captioning": ("caption", title),
            "retrieval": ("texts", [title]),
        }[task]
        yield f"{titles.name} line {number}", {"image": image, field: value}
