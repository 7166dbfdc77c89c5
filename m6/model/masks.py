"""The partial mask: one rule for every objective (paper section 3.2, extended to packing and branches).

Query `q` may see key `k` iff

1. both belong to the same sample (several samples share a row), and
2. `k` lies in the shared part of the sample (branch 0) or in `q`'s own branch, and
3. `k` is prefix, or `k` does not come after `q`.

A row with one sample, a shared picture `I I`, branch 1 with prefix `a` and target `b b`, branch 2 with target `c c`:

            I I a b b c c
        I   x x . . . . .
        I   x x . . . . .
        a   x x x . . . .
        b   x x x x . . .
        b   x x x x x . .
        c   x x . . . x .
        c   x x . . . x x

Codes of a picture that is painted may see fewer of one another, by a sparse rule (`m6/model/sparse.py`); `position`
and `codes` tell which, and without them all see all.

On CUDA the rule becomes a FlexAttention block mask; elsewhere a mask for each sample (`PieceMask`), since FlexAttention
has no backward on CPU. The boolean mask of a whole row is their reference. All are built here, from the same tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from m6.model.config import CodeAttentionConfig
from m6.model.sparse import FULL, Tiles, cells, reaches, tiles


@dataclass(frozen=True)
class PieceMask:
    """The rule for rows laid end to end and cut where a sample ends: what lies between two samples is never computed,
    which is most of a packed row."""

    lengths: list[int]  # of the pieces, in order; B * T together
    masks: list[Tensor | Tiles]  # [1, 1, L, L] float32 each, 0 or minus infinity, to be added to the scores; or, of a
    # prefix with many painted codes behind it, the tiles of these


Mask: TypeAlias = Tensor | BlockMask | PieceMask


def boolean_mask(
    sample: Tensor, branch: Tensor, causal: Tensor, position: Tensor | None = None, codes: CodeAttentionConfig = FULL
) -> Tensor:
    """The rule as a boolean tensor, true where a query may look.

    sample: [B, T] int, number of the sample within its row. branch: [B, T] int, 0 for the shared part.
    causal: [B, T] bool, true for target tokens. position: [B, T, 3] int, order, row and column; only a sparse rule
    asks for it. Returns [B, 1, T, T], query by key.
    """
    same_sample = sample[:, :, None] == sample[:, None, :]
    own_branch = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    order = torch.arange(sample.shape[1], device=sample.device)
    in_order = ~causal[:, None, :] | (order[None, :] <= order[:, None])
    allowed = same_sample & own_branch & in_order
    if position is not None and codes.pattern != "full":
        asked, shown = cells(sample, branch, causal, position)
        allowed &= reaches(codes, *asked[:, :, None].unbind(-1), *shown[:, None].unbind(-1))
    return allowed.unsqueeze(1)


def block_mask(
    sample: Tensor, branch: Tensor, causal: Tensor, position: Tensor | None = None, codes: CodeAttentionConfig = FULL
) -> BlockMask:
    """The same rule as a FlexAttention block mask; arguments as `boolean_mask`."""

    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        same_sample = sample[b, q] == sample[b, k]
        own_branch = (branch[b, k] == 0) | (branch[b, q] == branch[b, k])
        return same_sample & own_branch & (~causal[b, k] | (k <= q))

    chosen = rule
    if position is not None and codes.pattern != "full":
        (row, column), (other_row, other_column) = (
            [axis.contiguous() for axis in each.unbind(-1)] for each in cells(sample, branch, causal, position)
        )

        def chosen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            near = reaches(codes, row[b, q], column[b, q], other_row[b, k], other_column[b, k])
            return rule(b, h, q, k) & near

    batch, length = sample.shape
    return create_block_mask(chosen, batch, None, length, length, device=str(sample.device))


def piece_mask(
    sample: Tensor, branch: Tensor, causal: Tensor, position: Tensor | None = None, codes: CodeAttentionConfig = FULL
) -> PieceMask:
    """The same rule piece by piece; arguments as `boolean_mask`. Padding is a piece too, that sees itself."""
    length = sample.shape[1]
    begins = F.pad(sample[:, 1:] != sample[:, :-1], (1, 0), value=True)  # a row begins a piece
    starts = begins.flatten().nonzero().flatten().tolist()
    ends = [*starts[1:], sample.numel()]
    masks: list[Tensor | Tiles] = []
    for start, end in zip(starts, ends, strict=True):
        row, first = divmod(start, length)
        span = slice(first, first + end - start)
        own, side, written = (part[row : row + 1, span] for part in (sample, branch, causal))
        place = None if position is None else position[row : row + 1, span]
        masks.append(_tiles(side, written, place, codes) or _added(boolean_mask(own, side, written, place, codes)))
    return PieceMask([end - start for start, end in zip(starts, ends, strict=True)], masks)


def _added(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)


def _tiles(branch: Tensor, causal: Tensor, position: Tensor | None, codes: CodeAttentionConfig) -> Tiles | None:
    """The tiles of a piece that is one branch whose target is a painted picture, if they are worth it."""
    painted = int(causal.sum())
    if codes.pattern == "full" or position is None or not painted or int(branch.min()) != int(branch.max()):
        return None
    asked = position[0, -painted:, 1:]
    if not bool(causal[0, -painted:].all()) or not bool((asked > 0).all()):
        return None
    found = tiles(codes, tuple(map(tuple, asked.tolist())))
    return found and found.behind(causal.numel() - painted)


def build_mask(
    sample: Tensor, branch: Tensor, causal: Tensor, position: Tensor | None = None, codes: CodeAttentionConfig = FULL
) -> Mask:
    """The mask in the form that the device of the tensors is best at: blocks on CUDA, else a mask for each sample."""
    form = block_mask if sample.is_cuda else piece_mask
    return form(sample, branch, causal, position, codes)
