"""Encoded pictures to arrays, and image codes by document."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image as PillowImage

from m6.shards import Shards


def codes_schema(num_codes: int) -> pa.Schema:
    """Image codes, row for row beside a corpus, as wide as `num_codes` asks for."""
    number = pa.uint16() if num_codes <= 2**16 else pa.uint32()
    return pa.schema(
        [
            ("height", pa.int32()),  # codes
            ("width", pa.int32()),  # codes
            ("codes", pa.list_(number)),  # reading order; empty for a document without a picture
        ]
    )


_URL_SAFE = bytes.maketrans(b"-_", b"+/")  # the other alphabet of base64


@dataclass(frozen=True)
class PictureAt:
    """Where the bytes of an encoded picture lie: a whole file, or `length` bytes of one, which may be base64."""

    path: Path
    start: int = 0
    length: int = -1
    base64: bool = False

    def __str__(self) -> str:
        return f"{self.path}, byte {self.start}" if self.start else str(self.path)

    def read(self) -> bytes:
        """OSError if the file is gone, ValueError if it is not base64 though it should be."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            found = file.read(self.length)
        return base64.b64decode(found.translate(_URL_SAFE), validate=True) if self.base64 else found


def decode_image(encoded: bytes) -> np.ndarray:
    """An encoded picture as [S, S', 3] uint8, transparency laid on white."""
    with PillowImage.open(io.BytesIO(encoded)) as opened:
        picture: PillowImage.Image = opened
        if picture.mode in ("RGBA", "LA", "P"):
            picture = picture.convert("RGBA")
            ground = PillowImage.new("RGBA", picture.size, "white")
            picture = PillowImage.alpha_composite(ground, picture)
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def jittered(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A picture [S, S', 3] uint8 shifted and scaled by chance, by up to `share` of its side either way, on white."""
    height, width = pixels.shape[:2]
    scale = 1.0 + share * rng.uniform(-1, 1)
    right, down = share * rng.uniform(-1, 1, 2)
    # What lies at (x, y) comes from (scale * (x - middle) + middle + shift).
    across, along = width * (0.5 - 0.5 * scale + right), height * (0.5 - 0.5 * scale + down)
    moved = PillowImage.fromarray(pixels).transform(
        (width, height),
        PillowImage.Transform.AFFINE,
        (scale, 0.0, across, 0.0, scale, along),
        PillowImage.Resampling.BILINEAR,
        fillcolor="white",
    )
    return np.asarray(moved)


class CodeStore:
    """The codes of a corpus, row for row beside its documents."""

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(folder)

    def __getitem__(self, row: int) -> np.ndarray:
        """Codes [h, w] of the document in that row of the corpus."""
        record = self._shards[row]
        return np.asarray(record["codes"], np.int64).reshape(record["height"], record["width"])
