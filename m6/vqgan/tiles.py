"""Large pictures in tiles: the same result as at once, in memory that does not grow with the picture.

Each tile is worked on with as much around it as its middle can see (the reach of the convolutions), of which only the
middle is kept. Where a tile meets the border of the picture, it is padded as the whole picture is. So there are no
seams: what is kept is what the whole picture would have given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from m6.vqgan.config import VQGANConfig


def in_tiles(work: Callable[[Tensor], Tensor], x: Tensor, tile: int, reach: int, shrink: int, grow: int) -> Tensor:
    """`work`, which turns [B, C, S, S'] into [B, C', S * grow / shrink, S' * grow / shrink], on tiles of `tile` places
    of x a side, with `reach` more around them; all at once if that covers x, or if `tile` is 0. All are multiples of
    `shrink`."""
    height, width = x.shape[-2:]
    if not tile or tile >= max(height, width):
        return work(x)
    rows = []
    for top in range(0, height, tile):
        parts = []
        for left in range(0, width, tile):
            above, before = max(top - reach, 0), max(left - reach, 0)
            made = work(x[..., above : top + tile + reach, before : left + tile + reach])
            down, across = ((start - first) * grow // shrink for start, first in ((top, above), (left, before)))
            side = tile * grow // shrink
            parts.append(made[..., down : down + side, across : across + side])
        rows.append(torch.cat(parts, dim=-1))
    return torch.cat(rows, dim=-2)


def encoder_reach(config: VQGANConfig) -> int:
    """Pixels around its own f x f that a code sees, as a multiple of f."""
    seen = 0
    for level in range(len(config.channels) - 1):  # the last has kernels of one place
        seen += 2 * config.encoder_blocks * 2 ** (level + 1)
    return -(-seen // config.downsample) * config.downsample


def decoder_reach(config: VQGANConfig) -> int:
    """Codes around its own that a pixel sees."""
    f = config.downsample
    seen = f  # the first convolution
    for level in range(len(config.channels)):
        wide = f >> level  # pixels of a place
        seen += 2 * config.decoder_blocks * wide
        seen += wide if level < len(config.channels) - 1 else 2  # the convolution before places become four
    return -(-seen // f)
