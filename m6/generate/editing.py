"""A picture of which a region is painted anew.

The picture is laid on a painting of the size that is wanted, and becomes codes; cells that the region touches are
painted, from the text and from all other codes, which stand before them (the objective `inpainting`): so what lies
behind the region in reading order is known too. Pixels of cells that are kept are those of the picture, not decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from m6.config import UserError
from m6.corpus.config import ImageRules
from m6.corpus.images.prepare import fit
from m6.generate.engine import Engine
from m6.generate.text_to_image import Edit, Grid


@dataclass(frozen=True)
class Edited:
    """The pixels [S, S', 3] of a picture, or of one for each prompt, [B, S, S', 3], and what of it is painted."""

    pixels: np.ndarray
    edit: Edit

    @classmethod
    def of(
        cls, engine: Engine, grid: Grid, image: Path, region: tuple[int, int, int, int] | None, mask: Path | None
    ) -> Edited:
        """UserError for a picture of another shape than the painting, and for a region that is empty or outside."""
        assert engine.vqgan is not None
        side = engine.vqgan.config.downsample
        height, width = grid.height * side, grid.width * side
        with Image.open(image) as opened:
            if height == width:
                pixels = np.array(fit(opened, width, ImageRules()))
            elif opened.size == (width, height):
                pixels = np.array(opened.convert("RGB"))
            else:
                found = f"{opened.width}x{opened.height}"
                raise UserError(f"{image}: {found} pixels; a painting that is no square needs a picture of its size")
        inside = _masked(mask, width, height) if mask else _rectangle(region, width, height)
        cells: np.ndarray = inside.reshape(grid.height, side, grid.width, side).max((1, 3))
        return cls(pixels, Edit(engine.encode_pictures(pixels[None])[0], cells))

    def kept(self, painted: np.ndarray) -> np.ndarray:
        """Paintings [B, S, S', 3] with the pixels of the picture wherever it is kept."""
        side = painted.shape[1] // len(self.edit.region)
        anew = np.repeat(np.repeat(self.edit.region, side, 0), side, 1)
        return np.where(anew[None, :, :, None], painted, self.pixels)


def _rectangle(region: tuple[int, int, int, int] | None, width: int, height: int) -> np.ndarray:
    assert region is not None
    left, upper, wide, high = region
    if min(wide, high) < 1 or min(left, upper) < 0 or left + wide > width or upper + high > height:
        told = ",".join(map(str, region))
        raise UserError(f"region {told}: it has to lie within the painting, {width}x{height} pixels, and not be empty")
    inside = np.zeros((height, width), bool)
    inside[upper : upper + high, left : left + wide] = True
    return inside


def _masked(mask: Path, width: int, height: int) -> np.ndarray:
    with Image.open(mask) as opened:
        light = np.asarray(opened.convert("L").resize((width, height), Image.Resampling.NEAREST))
    inside: np.ndarray = light > 127
    if not inside.any():
        raise UserError(f"{mask}: nothing in it is white, so nothing would be painted")
    return inside
