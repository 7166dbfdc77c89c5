"""Whole matrices out of their shards, for an optimizer that needs them, as Muon does.

Shards are rows. The matrices are divided among the ranks: each gets all rows of its own by one all-to-all, computes,
and sends the rows back. So every matrix is computed once, and as much travels as for gathering the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from m6.parallel.expert_parallel import all_to_all
from m6.parallel.mesh import Ranks


@dataclass(frozen=True)
class Rows:
    """Matrices of `count` rows that lie over the ranks of a group as `torch.chunk` cuts them."""

    count: int
    group: dist.ProcessGroup

    @property
    def most(self) -> int:
        """Rows of a matrix on a rank, at the most."""
        return -(-self.count // self.group.size())

    def lengths(self) -> list[int]:
        """Rows of a matrix on each rank; the last ones may have none."""
        return [max(0, min(self.most, self.count - rank * self.most)) for rank in range(self.group.size())]

    def turn(self, shards: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Shards [n, r, C] of n matrices -> those of function(matrices [m, R, C]), of the same shape. function treats
        each matrix for itself."""
        ranks, rank, columns = self.group.size(), self.group.rank(), shards.shape[2]
        lengths = self.lengths()
        owned = [len(range(owner, len(shards), ranks)) for owner in range(ranks)]
        order = torch.arange(len(shards), device=shards.device)
        order = torch.cat([order[owner::ranks] for owner in range(ranks)])
        out = [count * lengths[rank] for count in owned]
        back = [owned[rank] * length for length in lengths]
        arrived = all_to_all(shards[order].flatten(0, 1), out, back, self.group)
        parts = [
            part.view(-1, length, columns) for part, length in zip(arrived.split(back), lengths, strict=True) if length
        ]
        whole = function(torch.cat(parts, dim=1))
        rows = torch.cat([part.flatten(0, 1) for part in whole.split(lengths, dim=1)])
        returned = all_to_all(rows, back, out, self.group).view_as(shards)
        return torch.empty_like(shards).index_copy_(0, order, returned)


def rows_of(parameter: Tensor, ranks: Ranks) -> Rows | None:
    """How the rows of a matrix, or of those of a stack [N, R, C], lie over the ranks; None for a plain tensor, and for
    a stack of which every rank has whole matrices."""
    if not isinstance(parameter, DTensor):
        return None
    if parameter.dim() == 2:
        return Rows(parameter.shape[0], ranks.mesh("shard").get_group())
    if parameter.placements[-1].is_shard(1):
        return Rows(parameter.shape[1], ranks.mesh("expert_shard").get_group())
    return None
