"""Chinese-CLIP's own form, in which its authors offer MUGE and Flickr30k-CN, and COCO-CN to those who may have it.

    train_texts.jsonl   {"text_id": 8428, "text": "高级感托特包斜挎", "image_ids": [1076345, 517602]}
    train_imgs.tsv      image id <tab> base64 of the picture

and the same with valid and test; "image_ids" is empty where it is not told. As its guide has it
(https://github.com/OFA-Sys/Chinese-CLIP/blob/master/README_En.md); the LMDB made of these files is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m6.tasks.example import Record
from m6.tasks.formats.queries import pictures_with_texts

SUMMARY = "texts and pictures in Chinese-CLIP's form (MUGE, Flickr30k-CN, COCO-CN)"
TASKS = ("retrieval", "captioning")
FILES = {
    split: ((f"{name}_texts.jsonl", f"{name}_imgs.tsv"),)
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test"))
}


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a picture, with its texts, perhaps none."""
    return pictures_with_texts(files[0], files[1], "text", "image_ids", task)
