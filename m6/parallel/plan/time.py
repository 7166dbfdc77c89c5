"""How long a step takes: products, collectives and the update, in seconds, by what of them runs beside the others.

    step = products beside gathering and scattering of weights + tokens between ranks + copies + Muon + update

Products: the FLOPs of forward and backward (m6/model/flops.py, attention causal), and of the forward once more where
all is recomputed, at a share of the data sheet's FLOP/s that is given or assumed. A collective takes its bytes over the
wire by the bandwidth: of the link within a node; of all network cards of a node together where a ring goes through
several; of one's own card for what goes from rank to rank. Of products and gathering, nine tenths of the shorter are
taken to be hidden behind the longer, of all else nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m6.model.config import ModelConfig
from m6.model.flops import TRAINING, flops_per_token
from m6.parallel.plan.hardware import GPU
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import weights
from m6.parallel.plan.traffic import Flow, flows

MFU = {"wide": 0.4, "narrow": 0.25}
"""Share of the data sheet's FLOP/s that products reach, if nothing is measured, by the width of the model. Assumed."""
WIDE = 2048
HIDDEN = 0.9
"""Of the shorter of products and gathering. Assumed."""
UPDATE_BYTES = 28
"""Read and written for a weight by AdamW: weight, gradient, two moments; weight and moments back."""
NEWTON_SCHULZ = 5  # iterations of Muon, each of three products of the smaller side


@dataclass(frozen=True)
class Seconds:
    """Of a step."""

    products: float
    gathers: float
    tokens: float
    """All-to-all of tokens to their experts and back."""
    copies: float
    """All-reduce among copies of the model."""
    muon: float
    update: float

    @property
    def step(self) -> float:
        """All of it, less what is hidden."""
        shorter, longer = sorted((self.products, self.gathers))
        return longer + (1 - HIDDEN) * shorter + self.tokens + self.copies + self.muon + self.update


def assumed_mfu(model: ModelConfig) -> float:
    """What a model of its width is taken to reach."""
    return MFU["wide" if model.hidden_size >= WIDE else "narrow"]


def seconds(job: Job, gpu: GPU, mfu: float) -> Seconds:
    """Of a step of this job on GPUs of this kind, whose products reach the share `mfu` of the data sheet's."""
    speed = gpu.tflops * 1e12 * mfu
    forward = sum(flops_per_token(job.model, job.vocab_size, job.length, causal=True).values())
    passes = TRAINING + (job.checkpointing == "full")
    spent = dict.fromkeys(("gathers", "tokens", "copies", "muon"), 0.0)
    for flow in flows(job):
        spent[_part(flow)] += flow.wire / (_bandwidth(flow, job, gpu) * 1e9)
    return Seconds(
        products=passes * forward * job.tokens * job.parallel.accumulate / speed,
        gathers=spent["gathers"],
        tokens=spent["tokens"],
        copies=spent["copies"],
        muon=spent["muon"] + (sum(_turning(job)) / job.axes.shard / speed if job.muon else 0.0),
        update=weights(job) / 4 * UPDATE_BYTES / (gpu.memory_gb_per_s * 1e9),
    )


def _part(flow: Flow) -> str:
    if flow.kind == "all_to_all":
        return "tokens" if flow.axis == "experts" else "muon"
    return "copies" if flow.kind == "all_reduce" else "gathers"


def _bandwidth(flow: Flow, job: Job, gpu: GPU) -> float:
    """GB/s of a rank."""
    axes = job.axes
    span = {"experts": axes.experts, "shard": axes.shard, "expert_shard": axes.shard, "replicate": job.world}[flow.axis]
    if span <= gpu.per_node:
        return gpu.link_gb_per_s
    if flow.kind == "all_to_all":
        return gpu.network_gb_per_s
    return min(gpu.link_gb_per_s, gpu.network_gb_per_s * gpu.per_node)


def _turning(job: Job) -> Iterator[float]:
    """FLOPs that make a direction of each matrix."""
    for layer in range(job.model.num_layers):
        yield from (_newton_schulz(rows, columns) for rows, columns in job.matrices(layer).shapes)
    for count, rows, columns in job.experts.shapes if job.sparse else ():
        yield len(job.sparse) * count * job.axes.experts * _newton_schulz(rows, columns)


def _newton_schulz(rows: int, columns: int) -> float:
    small, large = sorted((rows, columns))
    return 2.0 * small**2 * (2 * large + 3 * NEWTON_SCHULZ * small)
