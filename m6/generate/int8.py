"""Products of the blocks in whole numbers of 8 bits, on a CPU: less memory for their weights, and less time.

Each row of a weight has a scale of its own and is rounded once; so has each row that it is multiplied with, as it
comes. Sums of whole numbers are exact, so a row gives the same whatever shares its batch. Embedding, logits, norms,
picture input and experts stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m6.model.packed import rounded
from m6.model.transformer import Transformer


class Int8Linear(nn.Module):
    """A linear layer without bias whose weight [F, D] is kept in 8 bits."""

    weight: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        whole, scales = rounded(linear.weight.detach().float())
        self.register_buffer("weight", whole)
        self.register_buffer("scales", scales[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        """[.., D] -> [.., F]."""
        whole, scales = rounded(x.flatten(0, -2))
        product = torch._int_mm(whole, self.weight.t()) * scales * self.scales
        return product.view(*x.shape[:-1], -1)


def to_int8(model: Transformer) -> None:
    """Makes the linear layers of the blocks such ones, in place."""
    for module in list(model.blocks.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, Int8Linear(layer))
