"""Public formats of data sets, each one file: what a folder of it holds, and its records in the form of a task.

    folder -> recognised by its files -> records of a split, as a task's plain data file has them -> task.read

Pictures in tables of base64 are left there and found by their bytes (`table.py`), pictures in folders by their names
(`folder.py`). A folder is read only; nothing is kept beside it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

from m6.tasks.example import Record

FORMATS = (
    "muge_captioning",
    "muge_retrieval",
    "muge_text_to_image",
    "chinese_clip",
    "coco_cn",
    "flickr30k_cn",
    "fm_iqa",
)
SPLITS = ("train", "validation", "test")


class Format(Protocol):
    """What a format's file holds."""

    SUMMARY: str
    """Whose data it is, in a few words."""
    TASKS: tuple[str, ...]
    """The tasks that it gives records for."""
    FILES: Mapping[str, tuple[tuple[str, ...], ...]]
    """Of each split the files that it is read from, by their paths in the folder; several where names differ."""

    @staticmethod
    def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
        """Every record of a split with its key, in the form of the task. UserError with file and line."""


def format_of(folder: Path) -> Format | None:
    """The format that a folder is recognised as, by the files of any split; None if it is none."""
    found = (cast(Format, importlib.import_module(f"m6.tasks.formats.{name}")) for name in FORMATS)
    return next((one for one in found if splits_of(one, folder)), None)


def splits_of(found: Format, folder: Path) -> list[str]:
    """The splits that a folder has."""
    return [split for split in found.FILES if files_of(found, folder, split)]


def files_of(found: Format, folder: Path, split: str) -> tuple[Path, ...]:
    """The files of a split; none if the folder has not all of them."""
    for names in found.FILES.get(split, ()):
        paths = tuple(folder / name for name in names)
        if all(path.is_file() for path in paths):
            return paths
    return ()
