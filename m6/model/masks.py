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

On CUDA the rule becomes a FlexAttention block mask; elsewhere a boolean mask, since FlexAttention has no backward on
CPU. Both are built here, from the same three tensors.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

Mask: TypeAlias = Tensor | BlockMask


def boolean_mask(sample: Tensor, branch: Tensor, causal: Tensor) -> Tensor:
    """The rule as a boolean tensor, true where a query may look.

    sample: [B, T] int, number of the sample within its row. branch: [B, T] int, 0 for the shared part.
    causal: [B, T] bool, true for target tokens. Returns [B, 1, T, T], query by key.
    """
    same_sample = sample[:, :, None] == sample[:, None, :]
    own_branch = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    order = torch.arange(sample.shape[1], device=sample.device)
    in_order = ~causal[:, None, :] | (order[None, :] <= order[:, None])
    return (same_sample & own_branch & in_order).unsqueeze(1)


def block_mask(sample: Tensor, branch: Tensor, causal: Tensor) -> BlockMask:
    """The same rule as a FlexAttention block mask; arguments as `boolean_mask`."""

    def rule(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        same_sample = sample[b, q] == sample[b, k]
        own_branch = (branch[b, k] == 0) | (branch[b, q] == branch[b, k])
        return same_sample & own_branch & (~causal[b, k] | (k <= q))

    batch, length = sample.shape
    return create_block_mask(rule, batch, None, length, length, device=str(sample.device))


def build_mask(sample: Tensor, branch: Tensor, causal: Tensor) -> Mask:
    """The mask in the form that the device of the tensors is best at: blocks on CUDA, else 0 or minus infinity to be
    added to the scores, which every layer would make of a boolean mask again."""
    if sample.is_cuda:
        return block_mask(sample, branch, causal)
    allowed = boolean_mask(sample, branch, causal)
    return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
