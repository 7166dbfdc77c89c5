"""MUGE captioning, ECommerce-IC: pictures of products with up to ten descriptions each; 50,000, 5,000 and 10,000.

    IC_train.jsonl   {"image_id": "007c72…", "text": ["性感名媛蕾丝裙…", …]}, in IC_test.jsonl without "text"
    IC_train.tsv     image_id <tab> base64 of the picture

Files and fields as the organiser describes them
(https://github.com/XMK233/Tianchi_MUGE/blob/master/ECommerce-IC/readme.md) and as the baseline reads them
(https://github.com/MUGE-2021/image-caption-baseline/blob/main/data/caption_dataset.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.lines import objects
from m6.tasks.formats.table import picture_of, picture_table

SUMMARY = "MUGE captioning (ECommerce-IC)"
TASKS = ("captioning",)
FILES = {
    "train": (("IC_train.jsonl", "IC_train.tsv"),),
    "validation": (("IC_valid.jsonl", "IC_valid.tsv"),),
    "test": (("IC_test.jsonl", "IC_test.tsv"),),
}


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a picture. Its captions are untold where "text" is missing or empty, as in the test split."""
    captions, pictures = files
    table = picture_table(pictures)
    for number, row in objects(captions):
        where = f"{captions}, line {number}"
        if "image_id" not in row:
            raise UserError(f'{where}: no field "image_id"')
        image = picture_of(table, pictures, row["image_id"], where)
        yield (
            f"{captions.name} line {number}",
            {"image": image, "captions": row.get("text") or None, "image_id": row["image_id"]},
        )
