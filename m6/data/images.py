"""Encoded pictures to arrays, and image codes by document."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image as PillowImage

from m6.shards import Shards

CODES_SCHEMA = pa.schema(
    [
        ("height", pa.int32()),  # codes
        ("width", pa.int32()),  # codes
        ("codes", pa.list_(pa.uint16())),  # reading order; empty for a document without a picture
    ]
)


def decode_image(encoded: bytes) -> np.ndarray:
    """An encoded picture as [S, S', 3] uint8, transparency laid on white."""
    with PillowImage.open(io.BytesIO(encoded)) as opened:
        picture: PillowImage.Image = opened
        if picture.mode in ("RGBA", "LA", "P"):
            picture = picture.convert("RGBA")
            ground = PillowImage.new("RGBA", picture.size, "white")
            picture = PillowImage.alpha_composite(ground, picture)
        return np.asarray(picture.convert("RGB"))


class CodeStore:
    """The codes of a corpus, row for row beside its documents."""

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(folder)

    def __getitem__(self, row: int) -> np.ndarray:
        """Codes [h, w] of the document in that row of the corpus."""
        record = self._shards[row]
        return np.asarray(record["codes"], np.int64).reshape(record["height"], record["width"])
