"""What lies on a rank of the weights and the states of optimizers, and where in the whole tensors that is.

A checkpoint knows whole tensors alone, by name, shape and the place of each part; so it can be gone on from with any
number of ranks and any spread of experts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, Shard

from m6.model.experts.ffn import Experts
from m6.parallel.fsdp import local
from m6.parallel.mesh import Ranks


class Part(NamedTuple):
    """What lies on this rank of a tensor; it shares the memory of what is trained."""

    local: Tensor
    like: Tensor
    """The parameter whose layout it has; a plain tensor is whole on every rank."""
    spread: bool
    """Whether its first dimension goes over the ranks of the axis `experts` too."""

    def placed(self, ranks: Ranks, memory: Tensor | None = None) -> Tensor:
        """The whole tensor, of which this rank holds its part in `memory`, by default where it lies: a DTensor that
        knows places alone, with no groups behind it; nothing travels."""
        memory = self.local if memory is None else memory
        if not isinstance(self.like, DTensor):
            return memory
        axes = ranks.config.axes(ranks.world)
        shape, rows = list(self.like.shape), self.like.placements[-1]
        order = torch.arange(ranks.world).view(axes.replicate, -1, axes.experts if self.spread else 1)
        if self.spread:
            shape[0] *= axes.experts
        # The experts of a rank are cut once more over expert_shard: so that axis comes last here.
        mesh = DeviceMesh(memory.device.type, order.transpose(1, 2), _init_backend=False)
        placements = (Replicate(), Shard(0) if self.spread else Replicate(), rows)
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(memory, mesh, placements, run_check=False, shape=torch.Size(shape), stride=stride)


def model_parts(model: nn.Module) -> dict[str, Part]:
    """What lies on this rank of all that a model's `state_dict` holds, by its name there."""
    spread = spread_names(model)
    return {name: Part(local(tensor), tensor, name in spread) for name, tensor in _tensors(model)}


@torch.no_grad()
def whole(part: Tensor, like: Tensor, spread: bool, ranks: Ranks) -> Tensor:
    """The whole of a tensor of which each rank has a `part`, laid out as the parameter `like`. spread: its first
    dimension goes over the ranks of the axis `experts` too. All ranks have to ask for it."""
    if not isinstance(like, DTensor):
        return part
    laid = DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
    full = laid.full_tensor()
    if not spread:
        return full
    group = ranks.mesh("experts").get_group()
    parts = [torch.empty_like(full) for _ in range(group.size())]
    dist.all_gather(parts, full.contiguous(), group=group)
    return torch.cat(parts)


def spread_names(model: nn.Module) -> frozenset[str]:
    """Parameters that lie over the axis `experts`."""
    stacks = ((name, module) for name, module in model.named_modules() if isinstance(module, Experts))
    return frozenset(f"{name}.{weight}" for name, module in stacks for weight, _ in module.named_parameters())


def whole_state(model: nn.Module, ranks: Ranks) -> dict[str, Tensor]:
    """`state_dict` of the whole model: on rank 0, and on the CPU if there are others; they get nothing."""
    if not ranks.joined:
        return model.state_dict()
    spread = spread_names(model)
    found = {}
    for name, tensor in _tensors(model):
        full = whole(local(tensor), tensor, name in spread, ranks)
        if ranks.first:
            found[name] = full.cpu()
    return found


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All of `state_dict`, sharded also where weights are still gathered after a forward."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    yield from model.state_dict().items()
