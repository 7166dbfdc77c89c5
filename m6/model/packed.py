"""Weights as whole numbers of eight bits: a quarter of their bytes, for a run that is handed on.

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
LEVELS = 127


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, by name, with each large one as whole numbers and its scales beside it."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or tensor.numel() < FEWEST or not tensor.is_floating_point():
            packed[name] = tensor
            continue
        rows = tensor.float().flatten(1)
        scale = (rows.abs().amax(1) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        packed[name] = (rows / scale[:, None]).round().to(torch.int8).view(tensor.shape)
        packed[name + SCALE] = scale
    return packed


def unpacked(whole: Tensor, scale: Tensor) -> Tensor:
    """The floats, float32, that whole numbers [N, ...] int8 and the scales [N] of their rows stand for."""
    return (whole.flatten(1).float() * scale[:, None]).view(whole.shape)


def is_packed(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensor of that name has a scale beside it."""
    return name + SCALE in tensors
