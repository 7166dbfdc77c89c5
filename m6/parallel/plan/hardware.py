"""What a GPU can do, by its maker's data sheet, and which share of that a training reaches.

Bandwidths are those of one GPU in one direction, in GB/s of 10^9 bytes: an NVLink that data sheets call 600 GB/s moves
300 each way. Memory is what CUDA says is there, in GiB, which is a little less than the name of a GPU promises.
"""

from __future__ import annotations

from math import inf
from typing import Self

from pydantic import model_validator

from m6.config import Config
from m6.model.config import ModelConfig


class GPU(Config):
    """One GPU among others like it: SXM forms, eight in a node, a network card of its own for each."""

    memory_gib: float
    """Memory that a process can take, GiB."""
    tflops: float
    """Peak of dense matrix products in bfloat16, 10^12 FLOP/s."""
    memory_bandwidth: float
    """Between its memory and its cores, GB/s."""
    node_bandwidth: float
    """To the others of its node, one way, GB/s."""
    network_bandwidth: float
    """To other nodes, one way, GB/s."""

    @model_validator(mode="after")
    def _all_are_there(self) -> Self:
        for name, value in self:
            if not 0 < value < inf:
                raise ValueError(f"{name} {value:g} must be above 0, and a number")
        return self


def _row(memory: float, tflops: float, bandwidth: float, node: float, network: float) -> GPU:
    return GPU(
        memory_gib=memory,
        tflops=tflops,
        memory_bandwidth=bandwidth,
        node_bandwidth=node,
        network_bandwidth=network,
    )


GPUS = {
    "a100-40g": _row(39.4, 312, 1_555, 300, 25),
    "a100-80g": _row(79.1, 312, 2_039, 300, 25),
    "h100": _row(79.1, 989, 3_350, 450, 50),
    "h200": _row(139.7, 989, 4_800, 450, 50),
    "cpu": _row(8, 0.1, 20, 2, 1),
}
"""By name."""
SOURCES = {
    "a100-40g": "NVIDIA A100 data sheet (SXM4), DGX A100 data sheet (eight 200 Gb/s network cards)",
    "a100-80g": "NVIDIA A100 data sheet (SXM4), DGX A100 data sheet (eight 200 Gb/s network cards)",
    "h100": "NVIDIA H100 data sheet (SXM5), DGX H100 data sheet (eight 400 Gb/s network cards)",
    "h200": "NVIDIA H200 data sheet (SXM5), DGX H200 data sheet (eight 400 Gb/s network cards)",
    "cpu": "assumed: about one core of a server, to plan what a test can run",
}
"""Where the numbers of a row are from."""


WIDE = 2048
ASSUMED_MFU = {"wide": 0.4, "narrow": 0.25}
"""By the width of the model: from WIDE on, and below, where products are smaller."""


def assumed_mfu(model: ModelConfig) -> float:
    """What a model of its width is taken to reach."""
    return ASSUMED_MFU["wide" if model.hidden_size >= WIDE else "narrow"]


class Efficiency(Config):
    """Shares of the peaks that a training reaches: assumed, until they are measured on the machine itself."""

    mfu: float = ASSUMED_MFU["wide"]
    """Share of the peak FLOP/s while a rank computes and waits for nobody: `mfu_datasheet` of a run on one GPU."""
    link_share: float = 0.7
    """Share of the links' bandwidth that collectives reach."""
    hidden: float = 0.9
    """Of the shorter of computing and of gathering weights, the share that is hidden behind the longer."""
    latency: float = 2e-5
    """Seconds that a collective takes however little it moves."""
    hop: float = 2e-6
    """Seconds more for each further rank that takes part, which makes large groups slow for small weights."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        for name in ("mfu", "link_share", "hidden"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g} must be above 0 and at most 1")
        for name in ("latency", "hop"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} {getattr(self, name):g} must be seconds from 0 on")
        return self
