"""Seconds of a step, by part, from FLOPs, bytes and what the GPU and its links can do.

    products    FLOPs of forward and backward / (peak x MFU), attention causal
    again       what checkpointing computes twice: full, the forward of the blocks but for experts; selective, no
                products, so bytes read and written / bandwidth of the memory
    weights     gathering weights, scattering and adding up gradients         most of it hidden behind the two above
    tokens      tokens to their experts and back                              nobody computes meanwhile
    update      clipping, optimizers (bytes / bandwidth), what Muon turns and sends       nobody computes meanwhile

    step = longer + (1 - hidden) x shorter of (products + again) and weights, + tokens + update

Nine tenths of the shorter are taken to be hidden; `in_turn` is the step if nothing is.

A collective among n ranks of which m stand in one node: where m = n, the wire's bytes over the links of a node. A ring
over several nodes (all but all-to-all) leaves each node by m network cards at once, so that it has m times the
bandwidth of one, or that within the node, if that is less. In an all-to-all each rank sends (m - 1) / n of its bytes
within the node and (n - m) / n over its own card, at the same time. Each call waits besides, longer the more ranks take
part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from m6.model.flops import TRAINING, forward_flops
from m6.parallel.plan.hardware import GPU, Efficiency
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import kept, weights
from m6.parallel.plan.traffic import Flow, flows, turns

PASSES = {"adamw": 10, "muon": 16}
"""Times that an update reads or writes float32 numbers of a rank's part, for each weight: AdamW seven (weight, gradient
and moments; all but the gradient back), clipping three, and Muon makes, sends and adds a direction."""
AGAIN = 3
"""Times that what selective checkpointing forgets is read or written when it is made again."""
RECOMPUTED = ("attention", "attention scores", "feed-forward")
NEWTON_SCHULZ = (4, 34)
"""FLOPs that turn a matrix of sides r <= c, times r^2 c and r^3: `m6.train.optimizer.orthogonalize`."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step by part, and the model's FLOPs on a rank."""

    products: float
    again: float
    weights: float
    tokens: float
    update: float
    flops: float
    hidden: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        shorter, longer = sorted((self.products + self.again, self.weights))
        return longer + (1 - self.hidden) * shorter + self.tokens + self.update

    @property
    def in_turn(self) -> float:
        """If nothing is hidden."""
        return self.products + self.again + self.weights + self.tokens + self.update


def step_time(job: Job, gpu: GPU, efficiency: Efficiency, per_node: int) -> StepTime:
    """Of the rank with most to do, in nodes of `per_node` GPUs."""
    forward = _forward(job)
    flops = TRAINING * sum(forward.values())
    peak = gpu.tflops * 1e12 * efficiency.mfu
    bandwidth = gpu.memory_bandwidth * 1e9
    again = 0.0
    if job.checkpointing == "full":
        again = sum(forward[part] for part in RECOMPUTED) / peak
    elif job.checkpointing == "selective":
        again = AGAIN * _forgotten(job) / bandwidth

    moving = dict.fromkeys(("weights", "tokens", "update"), 0.0)
    for flow in flows(job):
        moving[part_of(flow)] += flow_seconds(flow, job, gpu, efficiency, per_node)
    passes = PASSES["muon" if job.muon else "adamw"]
    moving["update"] += passes * weights(job) / bandwidth + turn_flops(job) / peak
    return StepTime(products=flops / peak, again=again, flops=flops, hidden=efficiency.hidden, **moving)


def part_of(flow: Flow) -> str:
    """The part of a step that a flow is counted in."""
    if flow.kind != "all_to_all":
        return "weights"
    return "tokens" if flow.axis == "experts" else "update"


def flow_seconds(flow: Flow, job: Job, gpu: GPU, efficiency: Efficiency, per_node: int) -> float:
    """Of all calls of a flow in a step, one after the other."""
    node, network = (each * 1e9 * efficiency.link_share for each in (gpu.node_bandwidth, gpu.network_bandwidth))
    here = inside(flow.axis, job, per_node)
    if here >= flow.ranks:
        moving = flow.wire / node
    elif flow.kind == "all_to_all":
        share = flow.bytes / flow.ranks
        moving = max(share * (here - 1) / node, share * (flow.ranks - here) / network)
    else:
        moving = flow.wire / min(node, here * network)
    return moving + flow.calls * (efficiency.latency + efficiency.hop * (flow.ranks - 1))


def inside(axis: str, job: Job, per_node: int) -> int:
    """Ranks of a group of this axis that stand in one node: ranks of the last axis are neighbours."""
    replicate, shard, experts = job.axes
    size, stride = {
        "shard": (shard, 1),
        "replicate": (replicate, shard),
        "experts": (experts, 1),
        "expert_shard": (shard // experts, experts),
    }[axis]
    return min(size, max(1, per_node // stride))


def turn_flops(job: Job) -> float:
    """FLOPs of Muon on the rank that turns most matrices."""
    wide, square = NEWTON_SCHULZ
    total = 0.0
    for turn in turns(job):
        short, long = sorted((turn.rows, turn.columns))
        total += turn.times * -(-turn.count // turn.ranks) * (wide * short**2 * long + square * short**3)
    return total


def _forward(job: Job) -> dict[str, float]:
    """FLOPs of the forwards of a step, by part."""
    pairs = job.rows * job.length * (job.length + 1) / 2
    one = forward_flops(job.model, job.vocab_size, tokens=job.tokens, labels=job.tokens, pairs=pairs)
    return {part: flops * job.parallel.accumulate for part, flops in one.items()}


def _forgotten(job: Job) -> float:
    """Bytes of activations of a step that are not kept."""
    whole = replace(job, checkpointing="none")
    token = sum(kept(whole, layer) - kept(job, layer) for layer in range(job.model.num_layers))
    return job.parallel.accumulate * job.tokens * token
