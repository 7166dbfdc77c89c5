"""What is gathered between two rows of metrics, and the row that is made of it. docs/en/metrics.md explains each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from m6.parallel.mesh import ALONE, Ranks
from m6.train.hardware import datasheet_peak, measured_peak, peak_memory_gib

B = TypeVar("B")
Figures: TypeAlias = dict[str, tuple[float | Tensor, float | Tensor]]
"""Figures of a batch as (sum, count), which are averaged over the logged steps; tensors are read with the row."""


class Window:
    """Figures between two rows. On CUDA nothing is read before the row, so that the device never waits."""

    def __init__(self, device: torch.device, dtype: torch.dtype, ranks: Ranks = ALONE) -> None:
        """Measures the peak of the device for products of this type, so that rows can tell the share that is used."""
        self._device = device
        self._ranks = ranks
        self._peaks = {"mfu": measured_peak(device, dtype), "mfu_datasheet": datasheet_peak(device)}
        self.begin()

    def begin(self) -> None:
        """Forgets what was added, and starts the clock."""
        self._figures: list[Figures] = []
        self._counts: dict[str, float] = defaultdict(float)
        self._waited = 0.0
        self._began = time.perf_counter()

    def next_of(self, batches: Iterator[B]) -> B:
        """The next batch; the time until it is there counts as a stall."""
        began = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - began
        return batch

    def add(self, counts: dict[str, float], figures: Figures) -> None:
        """What a step did: `counts` as of `Task.counts`, and figures."""
        for name, count in counts.items():
            self._counts[name] += count
        self._figures.append({name: _detached(pair) for name, pair in figures.items()})

    def close(self) -> dict[str, float]:
        """The row of the steps since the last call, of all ranks together, which all have to ask for it; starts anew.
        Time and memory are those of this rank."""
        figures, counts = sums(self._figures), self._counts
        if self._ranks.joined:
            gathered = self._ranks.gather((figures, dict(counts)))
            figures, counts = added(each for each, _ in gathered), defaultdict(float)
            for _, each in gathered:
                for name, count in each.items():
                    counts[name] += count
        seconds = time.perf_counter() - self._began  # the sums waited for the device, so the time is taken after them
        averages = divided(figures)
        row = {**averages, "tokens": counts["tokens"], "seconds": seconds}
        row["tokens_per_second"] = counts["tokens"] / seconds
        for name in counts:
            if name.startswith("tokens/"):
                row[name.replace("tokens/", "tokens_per_second/")] = counts[name] / seconds
        if counts["places"]:
            row["padding_share"] = 1 - counts["tokens"] / counts["places"]
        for ending in ("", "_square"):
            if rate := counts[f"flops{ending}"] / seconds:
                row[f"tflops_per_second{ending}"] = rate / 1e12
                row |= {
                    f"{name}{ending}": rate / peak / self._ranks.world for name, peak in self._peaks.items() if peak
                }
        row |= {"stall_share": self._waited / seconds, "peak_memory_gib": peak_memory_gib(self._device)}
        self.begin()
        return row


def _detached(pair: tuple[float | Tensor, float | Tensor]) -> tuple[float | Tensor, float | Tensor]:
    total, count = (value.detach() if isinstance(value, Tensor) else value for value in pair)
    return total, count


def sums(steps: list[Figures]) -> dict[str, tuple[float, float]]:
    """Sum and count of each figure over all steps; all tensors are read at once."""
    tensors = [value for figures in steps for pair in figures.values() for value in pair if isinstance(value, Tensor)]
    read = iter(torch.stack([tensor.double() for tensor in tensors]).tolist() if tensors else ())

    def number(value: float | Tensor) -> float:
        return next(read) if isinstance(value, Tensor) else value

    return added({name: (number(total), number(count)) for name, (total, count) in step.items()} for step in steps)


def added(several: Iterable[dict[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Sum and count of each figure over several."""
    together: dict[str, tuple[float, float]] = {}
    for figures in several:
        for name, (total, count) in figures.items():
            before = together.get(name, (0.0, 0.0))
            together[name] = before[0] + total, before[1] + count
    return together


def divided(figures: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Sum by count of each figure that was counted at all."""
    return {name: total / count for name, (total, count) in figures.items() if count}
