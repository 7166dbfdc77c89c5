"""The experts of a layer: feed-forwards of one shape, their weights stacked, computed on rows sorted by expert.

Each is [.., D] -> [.., F] -> [.., D] with GELU between and no biases, as the dense layer; a weight lies as in
`nn.Linear`, output by input, so that a dense layer's weights can be stacked, and Muon sees the matrices it knows.

Two kernels: "grouped" is one product for all experts (`torch.nn.functional.grouped_mm`), "loop" takes them one by one,
which works everywhere, waits for the device, and is what the other is tested against.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.config import UserError
from m6.model.config import ModelConfig

GROUPED_MM: Any = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


class Experts(nn.Module):
    """up [E, F, D] and down [E, D, F], or those of them from `first` on that are held here."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        count, width, inner = config.experts.num_experts, config.hidden_size, config.expert_ffn_size
        self.kernel = config.experts.kernel
        self.first = 0  # number, in the whole layer, of the first expert that is held here
        self.up = nn.Parameter(torch.empty(count, inner, width))
        self.down = nn.Parameter(torch.empty(count, width, inner))
        nn.init.normal_(self.up, std=config.init_std)
        nn.init.normal_(self.down, std=config.init_std)

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """rows [R, D] of which expert e has those from ends[e - 1] to ends[e] (ends: [E] int32) -> [R, D], in the type
        that autocast asks for. Rows beyond the last end come back as anything. UserError if there is no such kernel."""
        device = rows.device.type
        if torch.is_autocast_enabled(device):
            rows = rows.to(torch.get_autocast_dtype(device))
        up, down = self.up.to(rows.dtype), self.down.to(rows.dtype)
        with torch.autocast(device, enabled=False):
            if use_grouped(self.kernel, rows, up.shape[1]):
                return grouped_mm(F.gelu(grouped_mm(rows, up, ends)), down, ends)
            return loop(rows, up, down, ends)


def use_grouped(kernel: str, rows: Tensor, inner: int) -> bool:
    """Whether rows [R, D] and F = inner are for the grouped product. UserError if it is asked for by name and cannot
    do that."""
    if kernel == "loop":
        return False
    aligned = all(width * rows.element_size() % 16 == 0 for width in (rows.shape[1], inner))
    works = GROUPED_MM is not None and aligned
    if rows.device.type != "cpu":
        ampere = rows.is_cuda and torch.cuda.get_device_capability(rows.device)[0] >= 8
        works = works and ampere and rows.dtype == torch.bfloat16
    if kernel == "grouped" and not works:
        raise UserError(
            f"model.experts.kernel 'grouped' does not work for {str(rows.dtype).removeprefix('torch.')} on "
            f"{rows.device.type} with hidden_size {rows.shape[1]} and ffn_size {inner}: these must be multiples of "
            f"{16 // rows.element_size()}, "
            f"and CUDA needs bfloat16 and compute capability 8; take 'auto' or 'loop'"
        )
    return works


def loop(rows: Tensor, up: Tensor, down: Tensor, ends: Tensor) -> Tensor:
    """One expert after the other. Rows beyond the last end become 0."""
    parts, start = [], 0
    for end, expert_up, expert_down in zip(ends.tolist(), up.unbind(), down.unbind(), strict=True):
        parts.append(F.linear(F.gelu(F.linear(rows[start:end], expert_up)), expert_down))
        start = end
    return torch.cat([*parts, torch.zeros_like(rows[start:])])


def grouped_mm(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """rows [R, I] times weight [E, O, I], each row by that of its expert: [R, O]."""
    if rows.device.type == "cpu":
        return _grouped(rows, weight, ends)
    product: Tensor = GROUPED_MM(rows, weight.mT, offs=ends)
    return product


# On a CPU the product is an operator of our own around PyTorch's: torch.compile refuses PyTorch's in float32, and its
# way back takes twice as long as these two.
@torch.library.custom_op("m6::grouped_mm", mutates_args=())
def _grouped(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    product: Tensor = GROUPED_MM(rows, weight.mT, offs=ends)
    return product


@torch.library.custom_op("m6::grouped_mm_backward", mutates_args=())
def _grouped_backward(gradient: Tensor, rows: Tensor, weight: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    gradient = gradient.contiguous()
    return GROUPED_MM(gradient, weight, offs=ends), GROUPED_MM(gradient.mT, rows, offs=ends)


@_grouped.register_fake
def _(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


@_grouped_backward.register_fake
def _(gradient: Tensor, rows: Tensor, weight: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), torch.empty_like(weight)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_grouped_backward(gradient, *ctx.saved_tensors), None


_grouped.register_autograd(_backward, setup_context=_save)
