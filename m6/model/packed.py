"""Weights as whole numbers of eight bits: a quarter of their bytes, for a run that is handed on. (`m6.generate.int8`
computes with such numbers.)

    matrix [N, ...], float  ->  its name [N, ...] int8, and name.scale [N] float32, the largest of each row / 127

What is small, norms and the like, stays as it is. Whoever reads such a folder gets floats again (`opened` of
`m6.model.weights`): only what lies on disk is smaller. Rounding moves a number by at most half of its row's scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
FEWEST = 4_096
"""Numbers of a tensor that is worth packing."""
MOST = 127  # both ways, so that zero is zero
LEAST = 1e-12  # of a scale: a row of zeros has to stay one


def rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [N, D] as whole numbers of 8 bits, int8, and what one of them stands for, [N, 1] of the rows' type."""
    scales = rows.abs().amax(-1, keepdim=True).clamp(min=LEAST) / MOST
    return (rows / scales).round().to(torch.int8), scales


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, by name, with each large one as whole numbers and its scales beside it."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or tensor.numel() < FEWEST or not tensor.is_floating_point():
            packed[name] = tensor
            continue
        whole, scales = rounded(tensor.float().flatten(1))
        packed[name] = whole.view(tensor.shape)
        packed[name + SCALE] = scales[:, 0].contiguous()
    return packed


def unpacked(whole: Tensor, scale: Tensor) -> Tensor:
    """The floats, float32, that whole numbers [N, ...] int8 and the scales [N] of their rows stand for."""
    return (whole.flatten(1).float() * scale[:, None]).view(whole.shape)


def is_packed(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensor of that name has a scale beside it."""
    return name + SCALE in tensors
