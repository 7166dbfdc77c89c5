"""MUGE retrieval, Multimodal Retrieval: search queries and the pictures of products that answer them; 250,000 pairs of
129,000 pictures to train on, 5,000 queries among 30,000 pictures each to validate and test.

    MR_train_queries.jsonl   {"query_id": 8428, "query_text": "高级感托特包斜挎", "item_ids": [1076345, 517602]}
    MR_train_imgs.tsv        item id <tab> base64 of the picture, 224 x 224; many of validation and test answer nothing

Test queries come without "item_ids". Files and fields as the organiser describes them
(https://github.com/XMK233/Tianchi_MUGE/blob/master/Multimodal_Retrieval/readme.md); the baseline reads the same without
"MR_" (https://github.com/MUGE-2021/image-retrieval-baseline/blob/main/src/eval/data.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.tasks.example import Record
from m6.tasks.formats.queries import pictures_with_texts

SUMMARY = "MUGE retrieval (Multimodal Retrieval)"
TASKS = ("retrieval",)
FILES = {
    split: ((f"MR_{name}_queries.jsonl", f"MR_{name}_imgs.tsv"), (f"{name}_queries.jsonl", f"{name}_imgs.tsv"))
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test"))
}


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a picture, with the queries that it answers, perhaps none."""
    return pictures_with_texts(files[0], files[1], "query_text", "item_ids", task)
