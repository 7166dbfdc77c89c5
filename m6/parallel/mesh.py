"""The ranks of a training: this process among the others, the named meshes they form, and small things they exchange.

    dense weights    (replicate, shard)                    hybrid sharding; with replicate = 1, sharding alone
    experts          (replicate, expert_shard, experts)    expert_shard * experts = shard

Ranks of the last axis are neighbours, so that what is exchanged most stays within a node. Gradients are sums over all
ranks: a rank's loss is its part of the loss of the whole step. Without torchrun there is one process and no group, and
every method is the plain thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Self, TypeVar

import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from m6.config import UserError
from m6.parallel.config import ParallelConfig
from m6.parallel.watchdog import Place

T = TypeVar("T")


HERE = Place()
"""Where this process is, if it has joined others: the one place that its watchdog looks at."""


class AgreedError(UserError):
    """A mistake that all ranks know of, so that one of them tells it."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. Meshes are made when they are first asked for, by all ranks."""

    config: ParallelConfig = field(default_factory=ParallelConfig)
    device: str = "cpu"
    rank: int = 0
    world: int = 1
    joined: bool = False
    """Whether there is a process group; one of a single process is one too."""
    group: dist.ProcessGroup | None = None
    """What small things are exchanged over; None is the group that all have joined."""
    place: Place = field(default_factory=Place, compare=False, repr=False)
    """Where this rank is, for its watchdog."""

    @classmethod
    def of(cls, config: ParallelConfig, device: str) -> Self:
        """Of the process group that was joined, or one process alone. device: "cpu" or "cuda"."""
        if not dist.is_initialized():
            return cls(config, device)
        return cls(config, device, dist.get_rank(), dist.get_world_size(), True, place=HERE)

    def apart(self) -> Self:
        """The same ranks over a group of their own, on the CPU, for a thread that works beside the training; all ranks
        have to ask for it."""
        if not self.joined:
            return self
        return replace(self, group=dist.new_group(backend="gloo", timeout=timedelta(seconds=self.config.timeout)))

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.rank == 0

    @cached_property
    def dense(self) -> DeviceMesh:
        """(replicate, shard)."""
        replicate, shard, _ = self.config.axes(self.world)
        return init_device_mesh(self.device, (replicate, shard), mesh_dim_names=("replicate", "shard"))

    @cached_property
    def spread(self) -> DeviceMesh:
        """(replicate, expert_shard, experts)."""
        replicate, shard, experts = self.config.axes(self.world)
        names = ("replicate", "expert_shard", "experts")
        return init_device_mesh(self.device, (replicate, shard // experts, experts), mesh_dim_names=names)

    @cached_property
    def _parts(self) -> dict[tuple[str, ...], DeviceMesh]:
        return {}

    def mesh(self, *axes: str) -> DeviceMesh:
        """The part of a mesh that has these axes, made once."""
        if axes not in self._parts:
            whole = self.dense if set(axes) <= {"replicate", "shard"} else self.spread
            self._parts[axes] = whole[axes]
        return self._parts[axes]

    def at(self, phase: str, step: int | None = None) -> None:
        """Notes what this rank begins to do."""
        self.place.move(phase, step)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, on each of them; without gradient."""
        if not self.joined:
            return tensor.detach()
        total = tensor.detach().clone()
        dist.all_reduce(total, group=self.group)
        return total

    def gather(self, value: T) -> list[T]:
        """The value of every rank, in their order, on each of them. For small things that pickle can hold."""
        if not self.joined:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What is a UserError on one rank is one on all, with its line: none goes on alone to wait for the others."""
        if not self.joined:
            yield
            return
        line = None
        try:
            yield
        except UserError as error:
            line = str(error)
        lines = [line for line in self.gather(line) if line is not None]
        if lines:
            raise AgreedError(lines[0])

    def wait(self) -> None:
        """Until all ranks are here."""
        self.gather(None)


ALONE = Ranks()
"""One process, without a group."""
