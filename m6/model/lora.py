"""LoRA: a frozen matrix and a trained update of low rank beside it (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

Applied to a finished model from outside: its linear layers in the blocks get two thin matrices each, all else is
frozen. The weights keep their names; whoever reads a checkpoint into a plain model gets the updates added into them
(`m6.model.weights.MergedFiles`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LoRALinear(nn.Module):
    """x [.., C] -> x W^T + scale * (x A^T) B^T [.., R]; W [R, C] is frozen, A [rank, C] is drawn, B [R, rank] zero."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = linear.weight.shape
        self.scale = alpha / rank
        self.weight = linear.weight.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, columns).normal_(std=columns**-0.5))
        self.lora_b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, x: Tensor) -> Tensor:
        update = F.linear(F.linear(x, self.lora_a), self.lora_b)
        return F.linear(x, self.weight) + self.scale * update


def add_lora(model: nn.Module, rank: int, alpha: float) -> None:
    """Freezes a model and gives the linear layers of its blocks updates, in place. They begin at zero."""
    model.requires_grad_(False)
    for parent in list(model.get_submodule("blocks").modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and name != "router":
                setattr(parent, name, LoRALinear(child, rank, alpha))
