"""Text to pictures: prompts, image codes of the model, and the image tokenizer's decoder.

A picture may be painted at once, over a small one of itself (coarse to fine), or in a region of another picture. Each
is a row of the Sample table, and is asked for as it was learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from m6.config import UserError
from m6.data.sample import HIDDEN, Codes, spread
from m6.generate.engine import Engine
from m6.generate.painting import Watch
from m6.generate.prefill import Prefix
from m6.generate.sampling import GREEDY, Sampling

GUIDANCE = 1.0  # a model that has converged needs none; more helps one that has not
UNPAINTED = 128
"""Grey of what is not painted yet."""


class Grid(NamedTuple):
    """Rows and columns of codes."""

    height: int
    width: int

    @classmethod
    def of(cls, size: str, engine: Engine) -> Grid:
        """That of a size in pixels, "256" or "384x256" (width x height). UserError unless the codes divide it, and the
        model has places for them."""
        parts = size.split("x")
        if len(parts) > 2 or not all(part.isascii() and part.isdecimal() for part in parts):
            raise UserError(f"size {size!r}: it has to be pixels, as 256, or width x height, as 384x256")
        width, height = (int(part) for part in (parts * 2)[:2])
        assert engine.vqgan is not None
        side, most = engine.vqgan.config.downsample, engine.model.config.max_side
        for pixels in (width, height):
            if pixels < side:
                raise UserError(f"size {size}: {pixels} is too small, a side has {side} pixels or more; take {side}")
            if pixels % side:
                near = max(side, round(pixels / side) * side)
                raise UserError(f"size {size}: {pixels} is no multiple of {side}, pixels of a code; take {near}")
            if pixels > side * most:
                raise UserError(f"size {size}: {pixels} is too large, this model paints up to {side * most} (max_side)")
        return cls(height // side, width // side)


@dataclass(frozen=True)
class Edit:
    """A picture as codes [h, w], or one for each prompt, [B, h, w]; and the cells [h, w] bool that are painted anew."""

    codes: np.ndarray
    region: np.ndarray


def prefixes(
    engine: Engine, prompts: Sequence[str], grid: Grid, before: Sequence[Codes] = ()
) -> tuple[list[Prefix], list[Prefix]]:
    """What stands before each painting, and before its half without the prompt. UserError for a prompt that is too
    long. before: codes that are given, one grid a prompt."""
    told = engine.told_size(*grid)
    given: list[Prefix] = [(codes,) for codes in before] or [()] * len(prompts)
    texts = [(engine.text(prompt),) if prompt else () for prompt in prompts]
    asked: list[Prefix] = [(*text, *told, *codes) for text, codes in zip(texts, given, strict=True)]
    return asked, [(*told, *codes) for codes in given]


def paint_codes(
    engine: Engine,
    prompts: Sequence[str],
    grid: Grid,
    sampling: Sampling = GREEDY,
    guidance: float = GUIDANCE,
    *,
    coarse: Grid | None = None,
    edit: Edit | None = None,
    ahead: int = 1,
    watch: Watch | None = None,
) -> np.ndarray:
    """One grid of codes [B, h, w] a prompt. coarse: that of a small picture that is painted before; edit: the picture
    of which a region is painted."""
    before = []
    if edit is not None:
        given = np.broadcast_to(np.where(edit.region, HIDDEN, edit.codes), (len(prompts), *grid))
        before = [Codes(codes) for codes in given]
    beneath = None
    if coarse is not None:
        small = paint_codes(engine, prompts, coarse, sampling, guidance, ahead=ahead)
        beneath = np.stack([spread(codes, *grid) for codes in small])
    asked, blank = prefixes(engine, prompts, grid, before)
    codes = engine.paint(
        asked,
        *grid,
        sampling,
        guidance,
        blank=blank,
        region=None if edit is None else edit.region,
        coarse=beneath,
        ahead=ahead,
        watch=watch,
    )
    return codes if edit is None else np.where(edit.region, codes, edit.codes)


def paint_pictures(
    engine: Engine, prompts: Sequence[str], sampling: Sampling = GREEDY, guidance: float = GUIDANCE
) -> np.ndarray:
    """One picture a prompt, of the size that the model was trained on: [B, S, S, 3] uint8. An empty prompt paints
    anything."""
    grid = Grid(engine.codes_side, engine.codes_side)
    return engine.decode_codes(paint_codes(engine, prompts, grid, sampling, guidance))


def unfinished(engine: Engine, codes: np.ndarray) -> np.ndarray:
    """Pixels [B, S, S', 3] of grids [B, h, w] of which some cells are `HIDDEN` still: those are grey."""
    pixels = engine.decode_codes(np.where(codes == HIDDEN, 0, codes))
    side = pixels.shape[1] // codes.shape[1]
    hidden = np.repeat(np.repeat(codes == HIDDEN, side, 1), side, 2)
    pixels[hidden] = UNPAINTED
    return pixels
