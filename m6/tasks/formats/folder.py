"""Folders of pictures beside annotations, as COCO's and Flickr30k's: where a picture lies, by its name."""

from __future__ import annotations

import os
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import PictureAt

COCO_PLACES = ("", "train2014", "val2014", "images", "images/train2014", "images/val2014")
FLICKR_PLACES = ("", "flickr30k-images", "images", "flickr30k/images", "images/flickr30k-images")


class Pictures:
    """The pictures in some folders of a folder, each of which is listed once: stepping through a hundred thousand
    names one by one takes minutes on the storage of a cluster."""

    def __init__(self, folder: Path, places: tuple[str, ...]) -> None:
        self._folder, self._places = folder, places
        self._listed: dict[str, dict[str, Path]] = {}

    def find(self, names: tuple[str, ...], where: str) -> PictureAt:
        """The picture of the first of these names that is there. UserError, which says where was looked."""
        for place in self._places:
            listed = self._list(place)
            for name in names:
                if name in listed:
                    return PictureAt(listed[name])
        places = ", ".join(place or "." for place in self._places)
        raise UserError(f"{where}: no picture {' or '.join(names)} in {self._folder}; looked in {places}")

    def _list(self, place: str) -> dict[str, Path]:
        if place not in self._listed:
            folder = self._folder / place
            try:
                self._listed[place] = {name: folder / name for name in os.listdir(folder)} if folder.is_dir() else {}
            except OSError as error:
                raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
        return self._listed[place]
