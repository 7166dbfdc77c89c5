"""Pictures of a corpus: their pixels, by row; and the batches of a training on nothing but pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from m6.config import UserError
from m6.data.images import decode_image
from m6.data.mixture import shuffled
from m6.data.unusable import Skipped, first_usable, usable
from m6.shards import Shards


def to_tensor(pixels: np.ndarray) -> Tensor:
    """[B, S, S, 3] uint8 -> [B, 3, S, S] float32 in -1 to 1, channels last in memory, which convolutions like."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor) -> np.ndarray:
    """[B, 3, S, S] in -1 to 1 -> [B, S, S, 3] uint8."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


class PictureBatch(NamedTuple):
    """Training pictures of a step."""

    ids: tuple[str, ...]
    pixels: np.ndarray  # [B, S, S, 3] uint8
    skipped: tuple[Skipped, ...]
    step: int


class Pictures(Dataset[PictureBatch]):
    """Step number -> its training pictures, in equal parts from every source; one that cannot be used gives its place
    to the next of its source. `crop`: side of the square that is cut out of each, at a place drawn by chance; 0 takes
    them whole."""

    def __init__(self, corpus: Path, batch_size: int, seed: int, crop: int = 0) -> None:
        self._shards = Shards(corpus)
        self._crop = crop
        self._batch_size = batch_size
        self._seed = seed
        rows: dict[str, list[int]] = {}
        for row, (source, split) in enumerate(picture_rows(self._shards)):
            if split == "train":
                rows.setdefault(source, []).append(row)
        if not rows:
            raise UserError(f"{corpus}: no training pictures here, and the image tokenizer needs some; add a source")
        self._rows = list(rows.values())

    def __getitem__(self, step: int) -> PictureBatch:
        ids, pixels, skipped = [], [], list[Skipped]()
        for place in range(self._batch_size):
            read, bad = first_usable(partial(self._read, step, place))
            skipped += bad
            if read is not None:
                ids.append(read[0])
                pixels.append(read[1])
        if not pixels:
            raise UserError(f"none of the pictures of step {step} can be read; {skipped[-1].key}: {skipped[-1].reason}")
        return PictureBatch(tuple(ids), np.stack(pixels), tuple(skipped), step)

    def _read(self, step: int, place: int, attempt: int) -> tuple[str, np.ndarray]:
        rows = self._rows[place % len(self._rows)]
        index = (step * self._batch_size + place) // len(self._rows)
        epoch, at = divmod(index, len(rows))
        row = rows[shuffled((at + attempt) % len(rows), len(rows), hash((self._seed, epoch)))]
        name, pixels = read_picture(self._shards, row)
        if not self._crop:
            return name, pixels
        return name, cut_out(pixels, self._crop, np.random.default_rng((self._seed, step, place)))


def cut_out(pixels: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square [side, side, 3] of a picture [S, S', 3], which is at least as large."""
    top, left = (int(rng.integers(whole - side + 1)) for whole in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def read_picture(shards: Shards, row: int) -> tuple[str, np.ndarray]:
    """Id and pixels [S, S, 3] of the picture in a row. UnusableError if it cannot be read."""
    with usable(f"row {row} of the corpus"):
        record = shards[row]
    with usable(f"{record['source']}/{record['id']}"):
        return record["id"], decode_image(record["images"][0]["bytes"])


def heldout_rows(kinds: list[tuple[str, str]]) -> list[int]:
    """The held-out rows among those of `picture_rows`: of real sources (composed scenes show training pictures, so they
    do not count), or all if there are no others."""
    held = [row for row, (_, split) in enumerate(kinds) if split == "heldout"]
    return [row for row in held if kinds[row][0] != "scenes"] or held


def picture_rows(shards: Shards) -> Iterator[tuple[str, str]]:
    """Source and split of every row; a row without a picture gives ('', '')."""
    table = shards.columns(["source", "split", "images.list.element.width"])
    counts = table.column("images").combine_chunks().value_lengths().to_pylist()
    columns = zip(table.column("source").to_pylist(), table.column("split").to_pylist(), counts, strict=True)
    for source, split, count in columns:
        yield (source, split) if count else ("", "")
