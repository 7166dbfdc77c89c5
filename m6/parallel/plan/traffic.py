"""What a rank sends and gets in one step: bytes of each collective, and calls, as `m6.parallel.ledger` counts them.

    all-gather       of each unit in the forward, once more in the backward unless it stayed   gathered bytes, whole
    reduce-scatter   of its gradients, in every micro-batch                                    4 bytes x whole
    all-reduce       of its part of them among the copies, once a step                         4 bytes x own part
    all-to-all       of tokens, there and back, in forward and backward                        4 x 2 bytes x slots x D
                     and how many they are                                                     8 bytes x experts
    all-to-all       of Muon: rows to the rank that turns a matrix, and back                   4 bytes x rows

Bytes are those of the tensor as it is whole (gathered, before it is scattered) or sent; over the wire goes (n - 1) / n
of it among n ranks, and twice that for an all-reduce. All-reduces of a few numbers are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from m6.parallel.plan.job import EXACT, MATRIX, Job, Shape

MUON_ELEMENTS = 2**25
"""Numbers of the parts that Muon sends together, `m6.train.optimizer.ELEMENTS_AT_ONCE`."""


@dataclass(frozen=True)
class Flow:
    """One kind of collective among the ranks of an axis, in a step."""

    kind: str
    axis: str
    ranks: int
    bytes: float
    calls: int

    @property
    def wire(self) -> float:
        """Bytes that each rank sends."""
        return self.bytes * (self.ranks - 1) / self.ranks * (2 if self.kind == "all_reduce" else 1)


def flows(job: Job, rank: int = 0) -> list[Flow]:
    """All of a step; what is exchanged within one rank is left out. Muon's are those of `rank`, and tokens go to all
    experts alike."""
    found: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    for kind, axis, count, times in (*_weights(job), *_tokens(job), *(_muon(job, rank) if job.muon else ())):
        found[kind, axis] += count * times
        calls[kind, axis] += times
    sizes = {"shard": job.axes.shard, "replicate": job.axes.replicate,
             "experts": job.axes.experts, "expert_shard": job.expert_shard}  # fmt: skip
    return [
        Flow(kind, axis, sizes[axis], count, calls[kind, axis])
        for (kind, axis), count in found.items()
        if sizes[axis] > 1
    ]


def by_group(job: Job, rank: int = 0) -> dict[tuple[str, str], Flow]:
    """The same by kind and axis, where axes of the same ranks are one, as a ledger sees it: "shard"."""
    same = {"experts": job.axes.experts == job.axes.shard, "expert_shard": job.axes.experts == 1}
    found: dict[tuple[str, str], Flow] = {}
    for flow in flows(job, rank):
        axis = "shard" if same.get(flow.axis) else flow.axis
        before = found.get((flow.kind, axis), Flow(flow.kind, axis, flow.ranks, 0, 0))
        found[flow.kind, axis] = replace(before, bytes=before.bytes + flow.bytes, calls=before.calls + flow.calls)
    return found


def _weights(job: Job) -> Iterator[tuple[str, str, float, int]]:
    """Kind, axis, bytes, and how often."""
    for unit, count in job.units:
        axis = "expert_shard" if job.sparse and unit is job.experts else "shard"
        stays = unit is job.root or not job.parallel.reshard_after_forward
        times = count * job.parallel.accumulate
        yield "all_gather", axis, unit.gathered * unit.whole, times if stays else 2 * times
        yield "reduce_scatter", axis, EXACT * unit.whole, times
        yield "all_reduce", "replicate", EXACT * unit.own, count


def _tokens(job: Job) -> Iterator[tuple[str, str, float, int]]:
    times = len(job.sparse) * job.parallel.accumulate
    yield "all_to_all", "experts", 8 * job.model.experts.num_experts, times
    yield "all_to_all", "experts", MATRIX * job.slots * job.model.hidden_size, 4 * times


def _muon(job: Job, rank: int) -> Iterator[tuple[str, str, float, int]]:
    """Rows of all matrices of one shape, some of them at once; each matrix is turned by one rank."""
    alike: Counter[tuple[Shape, str]] = Counter()
    for layer in range(job.model.num_layers):
        alike.update((shape, "shard") for shape in job.matrices(layer).shapes)
    if job.sparse and job.experts.side == 1:
        for count, *shape in job.experts.shapes:
            alike[tuple(shape), "expert_shard"] += count * len(job.sparse)
    for ((rows, columns), axis), number in alike.items():
        ranks = job.axes.shard if axis == "shard" else job.expert_shard
        own, place = ceil(rows / ranks), rank % ranks if axis == "shard" else rank % job.axes.shard // job.axes.experts
        mine = max(0, min(own, rows - place * own))
        most = max(1, MUON_ELEMENTS // (own * columns))
        for start in range(0, number, most):
            together = min(most, number - start)
            yield "all_to_all", axis, EXACT * together * mine * columns, 1
            yield "all_to_all", axis, EXACT * len(range(place, together, ranks)) * rows * columns, 1
