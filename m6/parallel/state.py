"""Whole tensors out of what lies on the ranks, and back: weights and the states of optimizers, for a checkpoint.

A checkpoint holds whole tensors, so it can be gone on from with any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from m6.model.experts.ffn import Experts
from m6.parallel.fsdp import local
from m6.parallel.mesh import Ranks


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


@torch.no_grad()
def part_of(full: Tensor, like: Tensor, spread: bool, ranks: Ranks) -> Tensor:
    """The part of this rank: the reverse of `whole`."""
    if not isinstance(like, DTensor):
        return full
    if spread:
        mesh = ranks.mesh("experts")
        full = full.chunk(mesh.size())[mesh.get_local_rank()]
    return local(distribute_tensor(full.to(ranks.device), like.device_mesh, like.placements, src_data_rank=None))


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


@torch.no_grad()
def load_whole_state(model: nn.Module, state: dict[str, Tensor], ranks: Ranks) -> None:
    """Fills a sharded model from a whole state; RuntimeError, as of `load_state_dict`, if names or shapes differ."""
    if not ranks.joined:
        model.load_state_dict(state)
        return
    spread = spread_names(model)
    tensors = dict(_tensors(model))
    if tensors.keys() != state.keys():
        raise RuntimeError(f"names differ: {', '.join(sorted(tensors.keys() ^ state.keys())[:3])}")
    for name, tensor in tensors.items():
        part = part_of(state[name], tensor, name in spread, ranks)
        if part.shape != local(tensor).shape:
            raise RuntimeError(f"size mismatch for {name}")
        local(tensor).copy_(part)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All of `state_dict`, sharded also where weights are still gathered after a forward."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    yield from model.state_dict().items()
