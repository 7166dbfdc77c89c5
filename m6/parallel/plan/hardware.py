"""GPUs that can be planned for: what the makers' data sheets say, and what is assumed of the network between nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from m6.config import Config, UserError, nearest


class GPU(Config):
    """A kind of GPU and what joins several; a JSON file of these fields stands for one's own."""

    memory_gib: float
    """Memory, as PyTorch reports it."""
    tflops: float
    """Dense products in bfloat16, 10^12 FLOP/s, by the data sheet."""
    memory_gb_per_s: float
    """Bandwidth of its memory, GB/s."""
    link_gb_per_s: float
    """To the others of its node, GB/s in one direction (NVLink)."""
    network_gb_per_s: float
    """To other nodes, GB/s in one direction, for each GPU."""
    per_node: int = 8
    """GPUs of a node."""

    @model_validator(mode="after")
    def _all_is_there(self) -> Self:
        for name, value in self.model_dump().items():
            if not value > 0:
                raise ValueError(f"{name} {value} must be above 0")
        return self


# Memory: what PyTorch reports for the SXM forms. FLOP/s, bandwidths: NVIDIA's data sheets of A100 (2021), H100 (2023)
# and H200 (2024), NVLink in one direction. Network: assumed, a card of 200 or 400 Gbit/s for each GPU.
GPUS = {
    "a100-40g": GPU(memory_gib=39.4, tflops=312, memory_gb_per_s=1_555, link_gb_per_s=300, network_gb_per_s=25),
    "a100-80g": GPU(memory_gib=79.2, tflops=312, memory_gb_per_s=2_039, link_gb_per_s=300, network_gb_per_s=25),
    "h100": GPU(memory_gib=79.1, tflops=989, memory_gb_per_s=3_350, link_gb_per_s=450, network_gb_per_s=50),
    "h200": GPU(memory_gib=139.8, tflops=989, memory_gb_per_s=4_800, link_gb_per_s=450, network_gb_per_s=50),
}


def find(name: str) -> GPU:
    """The GPU of a name, or of a JSON file. UserError if there is neither."""
    if name in GPUS:
        return GPUS[name]
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise UserError(f"--gpu: no file {name}")
        return GPU.read(Path(name))
    raise UserError(f"--gpu: no GPU {name!r}{nearest(name, GPUS)}, or a .json file of the fields of one")
