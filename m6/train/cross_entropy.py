"""Cross-entropy of an output layer that never holds all logits.

With a vocabulary V far larger than the width D, logits and their gradients [N, V] are the largest tensors of a step.
Here a few labels at a time go through the output layer, and their gradients are computed while their logits are there:
what stays is one gradient of the hidden states [N, D] and one of the weights [V, D] (as in Liger, arXiv 2410.10989).
That each label's share of the loss is known beforehand is what makes it possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**26}
"""Logits held at once, about: what stays near the cores of a CPU, and what keeps those of a GPU busy."""
CHUNK_MULTIPLE = 256
"""Labels of a chunk at the least: each chunk reads and writes the whole gradient of the weights."""


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, shares: Tensor, chunk_size: int = 0
) -> tuple[Tensor, Tensor]:
    """The loss sum(shares * losses), and the losses themselves, detached: [] and [N], nats, float32 or float64.

    hidden: [N, D], weight: [V, D], labels: [N] int64 below V, shares: [N], of any sign and sum. Products are in the
    type of autocast where that is on; the softmax and the sums are float32 (float64 for float64). chunk_size: labels
    that are computed at once; 0 chooses.
    """
    loss, losses = _LinearCrossEntropy.apply(hidden, weight, labels, shares, chunk_size or _chunk_size(weight))
    return loss, losses


def _chunk_size(weight: Tensor) -> int:
    elements = CHUNK_ELEMENTS.get(weight.device.type, CHUNK_ELEMENTS["cuda"])
    return max(CHUNK_MULTIPLE, elements // weight.shape[0] // CHUNK_MULTIPLE * CHUNK_MULTIPLE)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, shares: Tensor, chunk_size: int
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        exact = torch.promote_types(hidden.dtype, torch.float32)
        with_hidden, with_weight = ctx.needs_input_grad[:2]
        losses = torch.empty(len(labels), dtype=exact, device=hidden.device)
        hidden_grad = torch.empty_like(hidden) if with_hidden else None
        weight_grad = torch.zeros_like(weight) if with_weight else None
        matrix = weight.to(dtype)
        with torch.autocast(kind, enabled=False):
            for span in _spans(len(labels), chunk_size):
                states = hidden[span].to(dtype)
                losses[span], slope = _chunk(states @ matrix.T, labels[span], exact)
                if not (with_hidden or with_weight):
                    continue
                slope = slope.mul_(shares[span, None]).to(dtype)
                if hidden_grad is not None:
                    hidden_grad[span] = slope @ matrix
                if weight_grad is not None:
                    _add_product(weight_grad, slope.T, states)
        ctx.save_for_backward(hidden_grad, weight_grad)
        ctx.mark_non_differentiable(losses)
        return (losses * shares).sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        gradients = [None if gradient is None else gradient.mul_(upstream) for gradient in ctx.saved_tensors]
        return gradients[0], gradients[1], None, None, None


def _spans(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _chunk(logits: Tensor, labels: Tensor, exact: torch.dtype) -> tuple[Tensor, Tensor]:
    """The losses [n] of logits [n, V], and the gradient of each loss by its own logits."""
    logits = logits.to(exact)
    highest = logits.amax(dim=1)
    picked = logits.gather(1, labels[:, None]).squeeze(1)
    probability = logits.softmax(dim=1)
    losses = highest - probability.amax(dim=1).log() - picked  # exp(0) / sum is the highest, so this is log(sum)
    probability.scatter_add_(1, labels[:, None], probability.new_full((len(labels), 1), -1.0))
    return losses, probability


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, whose type may be narrower."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
