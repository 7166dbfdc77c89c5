"""The machine under a training: which device, which numbers, how fast it is at its best, how much memory it took."""

from __future__ import annotations

import time
from statistics import median

import torch

from m6.config import UserError
from m6.run import peak_rss_gib

DATASHEET = {"A100": 312e12, "H100": 989e12, "H200": 989e12}
"""FLOP/s of dense bfloat16 products in the makers' data sheets, by what the name of the device holds (SXM forms)."""
PEAK_SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices that are multiplied to find the peak
PEAK_RUNS = 5


def choose_device(name: str) -> torch.device:
    """The device that a config names; "auto" is CUDA where there is one. UserError for CUDA where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("loop.device is 'cuda', but this PyTorch finds no CUDA device; 'cpu' or 'auto' will do")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def prepare_cpu(num_threads: int) -> None:
    """Settings without which training on a CPU crawls: no denormal numbers, as many threads as asked for.

    To be called before anything is computed: threads that exist already would keep their denormals (ten times slower).
    """
    torch.set_flush_denormal(True)
    if num_threads:
        torch.set_num_threads(num_threads)


def matrix_dtype(precision: str, device: torch.device | None = None) -> torch.dtype:
    """What matrix products are computed in, for a precision as configs name it: "auto" is bfloat16 on CUDA, and on a
    CPU with matrix units, where it is several times as fast as float32; on a CPU without them it is slower."""
    if precision == "auto":
        on_cuda = device is not None and device.type == "cuda"
        precision = "bfloat16" if on_cuda or torch.cpu._is_amx_tile_supported() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product on this machine: the median of several. Draws nothing from the global seed."""
    side = PEAK_SIDE[device.type]
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(PEAK_RUNS + 1):
        synchronize(device)
        began = time.perf_counter()
        left @ right
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / median(seconds[1:])


def datasheet_peak(device: torch.device) -> float | None:
    """FLOP/s of dense bfloat16 products by the data sheet; None for a device of which none is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in DATASHEET.items() if part in name), None)


def peak_memory_gib(device: torch.device) -> float:
    """The most memory so far: resident, of this process; on CUDA what tensors took there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return peak_rss_gib()


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
