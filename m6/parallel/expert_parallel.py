"""Expert parallelism: each rank of the axis `experts` holds some of a layer's experts, and tokens travel to them.

    tokens -> rows by expert -> all-to-all: each row to the rank of its expert -> rows by local expert -> Experts
    and the same way back

First the counts are exchanged, then the rows, in one message for each pair of ranks (GShard, arXiv 2006.16668). What is
dropped or padding (expert E) stays where it is. A rank that sends or gets nothing takes part all the same. Capacity
is a share of the tokens of each rank, GShard's groups: it is decided before tokens travel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from m6.model.experts import LocalDispatcher, MixtureOfExperts
from m6.model.experts.dispatch import combine_rows, dispatch_rows, make_plan
from m6.parallel.mesh import Ranks


def spread_experts(layer: MixtureOfExperts, ranks: Ranks) -> None:
    """Leaves each rank its own experts of a layer, in place, and lets tokens travel. E must divide."""
    mesh = ranks.mesh("experts")
    if mesh.size() == 1:
        return
    for name, weight in list(layer.experts.named_parameters()):
        own = weight.detach().chunk(mesh.size())[mesh.get_local_rank()].clone()
        setattr(layer.experts, name, nn.Parameter(own))
    layer.experts.first = mesh.get_local_rank() * len(layer.experts.up)
    layer.dispatcher = AllToAllDispatcher(layer.config.num_experts, mesh.get_group())


class Journey(NamedTuple):
    """Where rows went, to find them again on the way back."""

    row: Tensor  # [N * K], the row of a slot before it was sent
    kept: Tensor | None  # [N, K] bool
    sent: list[int]  # rows to each rank
    received: list[int]  # rows from each rank
    plan: Any  # of the local dispatcher


class AllToAllDispatcher:
    """A `Dispatcher` whose experts lie on the ranks of a group, in order: E / ranks on each."""

    def __init__(self, num_experts: int, group: dist.ProcessGroup) -> None:
        self.num_experts = num_experts
        self.group = group
        self.local = LocalDispatcher(num_experts // group.size())

    def dispatch(self, tokens: Tensor, expert: Tensor, partial: bool) -> tuple[Tensor, Tensor, Any]:
        """See `Dispatcher`; rows [R, D] are those of all ranks for the experts of this one. Waits for the device, to
        learn how many there are."""
        row, slot, ends = make_plan(expert, self.num_experts)
        kept = (expert < self.num_experts)[..., None] if partial else None
        arriving, sent, received = self.exchange_counts(F.pad(ends, (1, 0)).diff().to(torch.int64))
        rows = dispatch_rows(tokens, row, slot, kept, expert.shape[1])
        rows = exchange(rows[: sum(sent)], sent, received, self.group)
        own = torch.arange(arriving.shape[1], device=tokens.device).repeat(len(arriving))
        own = own.repeat_interleave(arriving.flatten(), output_size=sum(received))
        rows, ends, plan = self.local.dispatch(rows, own[:, None], partial=False)
        return rows, ends, Journey(row, kept, sent, received, plan)

    def exchange_counts(self, counts: Tensor) -> tuple[Tensor, list[int], list[int]]:
        """Rows here for each expert [E] -> those that come from each rank for each of the experts here [ranks, E /
        ranks]; and rows to send to each rank, and to get from each."""
        counts = counts.view(self.group.size(), -1)
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts, group=self.group)
        sent, received = torch.stack([counts.sum(1), arriving.sum(1)]).tolist()
        return arriving, sent, received

    def combine(self, rows: Tensor, gate: Tensor, plan: Journey) -> Tensor:
        """See `Dispatcher`."""
        ones = rows.new_ones(sum(plan.received), 1)
        rows = self.local.combine(rows, ones, plan.plan)
        rows = exchange(rows, plan.received, plan.sent, self.group)
        rows = F.pad(rows, (0, 0, 0, len(plan.row) - len(rows)))  # for slots that went nowhere
        return combine_rows(rows, gate, plan.row, plan.kept)


def exchange(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    """Rows [sum(sent), D], in order of the ranks that they go to -> rows [sum(received), D], in order of those that
    they came from. Gradients travel back."""
    travelled: Tensor = _Exchange.apply(rows, sent, received, group)
    return travelled


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.way_back = received, sent, group
        return all_to_all(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return all_to_all(gradient, *ctx.way_back), None, None, None


def all_to_all(rows: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup) -> Tensor:
    """As `exchange`, without gradient."""
    arrived = rows.new_empty(sum(received), rows.shape[1])
    dist.all_to_all_single(arrived, rows.contiguous(), received, sent, group=group)
    return arrived
