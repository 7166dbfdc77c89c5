"""Codes of every picture of the corpus made small, row for row beside it: what `text_to_coarse` paints and
`coarse_to_fine` reads before it does.

They are written before pretraining, if its mixture asks for them, and once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from m6.config import UserError
from m6.data.config import DataConfig
from m6.data.images import codes_schema
from m6.data.pictures import picture_rows, read_picture, to_tensor
from m6.data.unusable import UnusableError
from m6.model.weights import load_weights, newest
from m6.run import progress
from m6.shards import Shards, write_shards
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN

READ_BY = ("text_to_coarse", "coarse_to_fine")
"""The objectives that ask for them."""
ROWS = 256  # of a table
MANIFEST = "manifest.json"


def folder_of(run: Path) -> Path:
    """Where they stand in a run folder."""
    return run / "vqgan" / "coarse"


def wanted(data: DataConfig) -> bool:
    """Whether a mixture asks for them."""
    return any(entry.objectives.get(name) for entry in data.mixture for name in READ_BY)


def write_coarse_codes(run: Path, data: DataConfig, config: VQGANConfig) -> None:
    """Writes them into a run folder, unless they are there. UserError for a picture that cannot be made so much smaller
    and still be codes."""
    folder, factor = folder_of(run), data.coarse_factor
    if (folder / MANIFEST).exists():
        return
    model = VQGAN(config).eval()
    load_weights(newest(run / "vqgan", "vqgan"), model)
    shards, schema = Shards(run / "corpus"), codes_schema(config.num_codes)
    pictured = [bool(source) for source, _ in picture_rows(shards)]

    def row(index: int) -> dict[str, object]:
        try:
            pixels = read_picture(shards, index)[1] if pictured[index] else None
        except UnusableError:
            pixels = None
        if pixels is None:
            return {"height": 0, "width": 0, "codes": []}
        codes = model.encode(to_tensor(smaller(pixels, factor, config.downsample)[None]))[0]
        return {"height": codes.shape[0], "width": codes.shape[1], "codes": codes.flatten().tolist()}

    def tables() -> Iterator[pa.Table]:
        for start in progress(range(0, len(pictured), ROWS), "encode, coarse"):
            rows = range(start, min(start + ROWS, len(pictured)))
            yield pa.Table.from_pylist([row(index) for index in rows], schema=schema)

    with torch.inference_mode():
        write_shards(folder, tables(), schema, rows_per_shard=16_384)


def smaller(pixels: np.ndarray, factor: int, downsample: int) -> np.ndarray:
    """A picture [S, S', 3] uint8 made `factor` times smaller on each side, by means of areas."""
    height, width = pixels.shape[:2]
    for side in (height, width):
        if side % (factor * downsample):
            raise UserError(
                f"pretrain.data.coarse_factor {factor}: {side} pixels are no multiple of {factor} x {downsample}, the "
                "pixels of a code; take another factor, or pictures of another size"
            )
    return np.array(Image.fromarray(pixels).resize((width // factor, height // factor), Image.Resampling.BOX))
