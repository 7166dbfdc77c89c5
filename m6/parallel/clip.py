"""Clipping of gradients that lie in parts over several meshes.

Within a copy of the model every element of a gradient lies on one rank alone: shards of dense weights, experts and
shards of experts alike. So the squares of what lies on each rank, added up over the axis `shard`, are those of the
whole gradient, none counted twice; and copies have the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from m6.parallel.fsdp import local
from m6.parallel.mesh import Ranks


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], largest: float, ranks: Ranks) -> Tensor:
    """Scales the gradients to the norm `largest` at the most; returns their norm [] before, the same on all ranks."""
    if not ranks.joined:
        return nn.utils.clip_grad_norm_(parameters, largest)
    gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients).to(ranks.device).square()
    dist.all_reduce(norm, group=ranks.mesh("shard").get_group())
    norm.sqrt_()
    torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm
