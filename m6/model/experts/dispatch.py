"""Tokens to their experts and back: rows sorted by expert on the way there, weighted and summed on the way back.

Dispatch and combination are gathers in both directions, also for the gradient: each row has one slot (a token and one
of its K choices) and each slot one row, so that nothing has to be added up at random places, which is slow and, on
CUDA, not the same twice. No step waits for the device.

Capacity is decided before (`limit`): a choice that finds no place is written as expert E, and a dispatcher sends such a
slot nowhere. What comes back for it is 0, and the token passes by on the residual path.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS_MULTIPLE = 64
"""On a CPU, rows of an expert are filled up to a multiple of at most this many: a kernel is made anew, and kept, for
every size of a matrix it meets, which in bfloat16 takes longer than the product."""


class Dispatcher(Protocol):
    """The seam for expert parallelism. `plan` is the dispatcher's own, handed back to it."""

    def dispatch(self, tokens: Tensor, expert: Tensor, partial: bool) -> tuple[Tensor, Tensor, Any]:
        """tokens [N, D], expert [N, K] -> rows [R, D] by expert, where the rows of each expert that is held here end
        ([E] int32), plan. With `partial`, some of expert may be E: nowhere. Rows beyond the last end belong to none
        and may hold anything."""
        ...

    def combine(self, rows: Tensor, gate: Tensor, plan: Any) -> Tensor:
        """rows [R, D] as the experts leave them, gate [N, K] float32 -> [N, D] float32, summed over choices."""
        ...


class Plan(NamedTuple):
    """Where slots lie: slot n * K + k is the choice k of token n."""

    row: Tensor  # [N * K], the row of a slot
    slot: Tensor  # [R], the slot of a row; 0 for filling
    ends: Tensor  # [E] int32, where the rows of an expert end


class LocalDispatcher:
    """All experts on this device."""

    def __init__(self, num_experts: int) -> None:
        self.num_experts = num_experts

    def dispatch(self, tokens: Tensor, expert: Tensor, partial: bool) -> tuple[Tensor, Tensor, Any]:
        """See `Dispatcher`."""
        multiple = rows_multiple(expert.numel(), self.num_experts) if tokens.device.type == "cpu" else 1
        row, slot, ends = make_plan(expert, self.num_experts, multiple)
        kept = (expert < self.num_experts)[..., None] if partial else None
        return dispatch_rows(tokens, row, slot, kept, expert.shape[1]), ends, (row, kept)

    def combine(self, rows: Tensor, gate: Tensor, plan: Any) -> Tensor:
        """See `Dispatcher`."""
        return combine_rows(rows, gate, *plan)


def dispatch_rows(tokens: Tensor, row: Tensor, slot: Tensor, kept: Tensor | None, num_choices: int) -> Tensor:
    """Tokens [N, D] to rows [R, D]: row [N * K] and slot [R] as in `Plan`; kept [N, K, 1] bool, None if all are."""
    rows: Tensor = _Dispatch.apply(tokens, row, slot, kept, num_choices)
    return rows


def combine_rows(rows: Tensor, gate: Tensor, row: Tensor, kept: Tensor | None) -> Tensor:
    """Rows [R, D] to tokens [N, D], weighted by gate [N, K], in whose type they are added up."""
    combined: Tensor = _Combine.apply(rows, gate, row, kept)
    return combined


class _Dispatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, row: Tensor, slot: Tensor, kept: Tensor | None, num_choices: int) -> Tensor:
        ctx.save_for_backward(row, kept)
        ctx.num_choices = num_choices
        return tokens.index_select(0, slot // num_choices)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        row, kept = ctx.saved_tensors
        by_slot = gradient.index_select(0, row).unflatten(0, (-1, ctx.num_choices))
        if kept is not None:
            by_slot = torch.where(kept, by_slot, 0.0)  # rows of no expert hold anything, not a number included
        return (by_slot.squeeze(1) if ctx.num_choices == 1 else by_slot.sum(1)), None, None, None, None


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, gate: Tensor, row: Tensor, kept: Tensor | None) -> Tensor:
        by_slot = rows.index_select(0, row).unflatten(0, gate.shape)
        if kept is not None:
            by_slot = torch.where(kept, by_slot, 0.0)
        ctx.save_for_backward(by_slot, gate, row)
        ctx.num_rows = len(rows)
        weighted = by_slot * gate[..., None]
        return weighted.squeeze(1) if gate.shape[1] == 1 else weighted.sum(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        by_slot, gate, row = ctx.saved_tensors
        gate_gradient = None
        if ctx.needs_input_grad[1]:
            gate_gradient = torch.einsum("nd,nkd->nk", gradient, by_slot.to(gradient.dtype))
        slot_gradient = (gradient[:, None] * gate[..., None]).to(by_slot.dtype).flatten(0, 1)
        rows_gradient = slot_gradient.new_zeros(ctx.num_rows, gradient.shape[1])  # filling rows had no part in it
        return rows_gradient.index_copy_(0, row, slot_gradient), gate_gradient, None, None


def make_plan(expert: Tensor, num_experts: int, multiple: int = 1) -> Plan:
    """Sorts the slots of expert [N, K] by expert, in order within one; each expert starts at a multiple of `multiple`,
    and slots of expert E follow behind all others."""
    by_expert, order = expert.flatten().sort(stable=True)
    start = torch.searchsorted(by_expert, torch.arange(num_experts + 1, device=expert.device))
    counts = start.diff()
    ends = ((counts + multiple - 1) // multiple * multiple).cumsum(0)
    place = torch.arange(len(order), device=expert.device) + (F.pad(ends, (1, 0)) - start)[by_expert]
    row = torch.empty_like(order).scatter(0, order, place)
    num_rows = len(order) + num_experts * (multiple - 1)
    slot = torch.zeros(num_rows, dtype=order.dtype, device=expert.device).scatter(0, place, order)
    return Plan(row, slot, ends.to(torch.int32))


def rows_multiple(num_slots: int, num_experts: int) -> int:
    """A power of two up to `ROWS_MULTIPLE`, small enough that filling stays below an eighth of an even load."""
    share = num_slots // num_experts // 4
    return min(ROWS_MULTIPLE, 1 << (share.bit_length() - 1)) if share else 1


def capacity(num_slots: int, num_experts: int, factor: float) -> int:
    """Tokens that an expert takes at the most, of N * K slots: C = ceil(factor * N * K / E)."""
    return math.ceil(factor * num_slots / num_experts - 1e-9)


def limit(expert: Tensor, capacity: int | Tensor, num_experts: int) -> Tensor:
    """Choices [N, K] of which every expert takes `capacity`; the rest become E. All first choices come before any
    second one, and within them the first token first (GShard)."""
    by_expert, order = expert.T.flatten().sort(stable=True)
    start = torch.searchsorted(by_expert, by_expert)
    place = torch.arange(len(order), device=expert.device) - start
    taken = torch.where(place < capacity, by_expert, num_experts)
    return torch.empty_like(taken).scatter(0, order, taken).view(expert.T.shape).T
