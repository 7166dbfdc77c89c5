"""What is measured of a model that paints from texts, ours or a peer's: a training by seconds of CPU, and speed.

In: a file of `benchmarks.dalle` with texts and codes. Out: what `main` says. Only torch, numpy and the standard library
are imported here, for peers run in environments of their own.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from serve import serve
from torch import Tensor, nn

BATCH = 16  # pictures of an update, and of a painting
TEMPERATURES = (0.0, 0.5)


class Painter(Protocol):
    """A model under measurement; texts are [B, L], filled up with 0, codes [B, N]."""

    model: nn.Module

    def update(self, texts: np.ndarray, codes: np.ndarray, done: float) -> None:
        """One update; `done`: the share of the time that has passed."""

    def nats(self, texts: np.ndarray, codes: np.ndarray) -> Tensor:
        """-log p of every code among all codes."""

    def paint(self, texts: np.ndarray, temperature: float) -> np.ndarray:
        """Codes; at temperature 0 the likeliest."""


Make = Callable[[dict[str, Any], float], Painter]
"""A new model for the data, that learns at a rate."""


def main(make: Make, rates: Sequence[float], path: str, what: str, *words: str) -> None:
    """Serve "train", updates, or "paint", both in the middle of the rates; or "learn SECONDS [OUT]": train at each rate
    for so many seconds, print what became of the best as a line of JSON, and, if it is named, write what it paints from
    the held-out texts to OUT."""
    torch.set_flush_denormal(True)
    data: dict[str, Any] = torch.load(path, weights_only=False)
    if what == "learn":
        learn(make, rates, data, *words)
        return
    painter = make(data, rates[len(rates) // 2])
    drawn = batches(data)
    each = data["train_codes"].shape[1]

    def updated() -> int:
        texts, codes = next(drawn)
        painter.update(texts, codes, 0.3)
        return len(texts) * each

    serve(updated if what == "train" else lambda: len(painter.paint(data["heldout_texts"][:BATCH], 0.5)))


def batches(data: dict[str, Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Texts and codes of shuffled epochs without end, the same for all."""
    texts, codes = data["train_texts"], data["train_codes"]
    draw = np.random.default_rng(0)
    while True:
        order = draw.permutation(len(texts))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield texts[chosen], codes[chosen]


def learn(make: Make, rates: Sequence[float], data: dict[str, Any], seconds: str, out: str = "") -> None:
    """See `main`."""
    found = {rate: trained(make(data, rate), data, float(seconds)) for rate in rates}
    bits = {rate: heldout_bits(painter, data) for rate, (painter, _) in found.items()}
    best = min(bits, key=lambda rate: bits[rate] if math.isfinite(bits[rate]) else math.inf)
    painter, steps = found[best]
    if out:
        painted: dict[str, Any] = {str(at): painted_all(painter, data["heldout_texts"], at) for at in TEMPERATURES}
        np.savez(out, **painted)
    parameters = sum(each.numel() for each in painter.model.parameters() if each.requires_grad)
    told = {"bits": bits[best], "rate": best, "rates": bits, "steps": steps, "parameters": parameters}
    print(json.dumps(told))


def trained(painter: Painter, data: dict[str, Any], seconds: float) -> tuple[Painter, int]:
    """The model after so many seconds of CPU, and the updates that it made in them."""
    painter.model.train()
    began, steps, passed = time.process_time(), 0, 0.0
    for texts, codes in batches(data):
        painter.update(texts, codes, passed)
        steps += 1
        passed = (time.process_time() - began) / seconds
        if passed >= 1:
            break
    print(f"{steps} updates", file=sys.stderr)
    return painter, steps


@torch.inference_mode()
def heldout_bits(painter: Painter, data: dict[str, Any]) -> float:
    """Mean bits of a code."""
    painter.model.eval()
    texts, codes = data["heldout_texts"], data["heldout_codes"]
    parts = [slice(at, at + BATCH) for at in range(0, len(texts), BATCH)]
    nats = torch.cat([painter.nats(texts[part], codes[part]).flatten() for part in parts])
    return float(nats.double().mean()) / math.log(2)


def painted_all(painter: Painter, texts: np.ndarray, temperature: float) -> np.ndarray:
    """Codes [M, N] of texts [M, L]."""
    painter.model.eval()
    torch.manual_seed(0)
    return np.concatenate([painter.paint(texts[at : at + BATCH], temperature) for at in range(0, len(texts), BATCH)])
