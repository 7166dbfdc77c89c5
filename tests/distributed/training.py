"""A small training, sharded or not, and what came of it: losses of every step, and the weights at the end."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m6.data.loader import Steps
from m6.data.packing import Batch
from m6.data.sample import Sample
from m6.data.unusable import Skipped
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.mesh import ALONE, Ranks
from m6.parallel.state import whole_state
from m6.run import read_metrics
from m6.train.config import LoopConfig
from m6.train.loop import Task, train
from m6.train.pretrain import pretraining
from tests.unit.data.examples import VOCABULARY, mixed_samples

STEPS = 10
LOOP = LoopConfig(num_steps=STEPS, checkpoint_every=5, log_every=1, precision="float32", device="cpu")


class Samples:
    """Stands for a mixture: sixteen samples a step, of every kind, in another order each time."""

    class config:  # noqa: N801
        row_length = 64
        max_skipped = 0.0
        mixture = ()

    def samples(self, step: int) -> list[Sample]:
        """The samples of a step."""
        made = mixed_samples() * 3
        return [made[(place * 5 + step) % len(made)] for place in range(16)]

    def part(self, step: int, part: int, parts: int) -> tuple[list[Sample], list[Skipped]]:
        """Every `parts`-th of them."""
        return self.samples(step)[part::parts], []

    def drawn(self, step: int) -> list[tuple[int, int]]:
        """Sixteen of one line."""
        return [(0, step * 16 + place) for place in range(16)]

    def num_drawn(self, step: int) -> int:
        """Samples before a step."""
        return 16 * step


@dataclass
class Outcome:
    """What a training came to, as rank 0 knows it."""

    losses: list[float]
    norms: list[float]
    rows: list[dict[str, Any]]
    weights: dict[str, Tensor]
    batches: list[tuple[str, ...]]


def make_model(**experts: Any) -> Transformer:
    """The same for all ranks. Without experts, every layer is dense.

    With other seeds a token may like two experts alike to the last digit, and rounding decides which one gets it.
    """
    torch.manual_seed(1)
    return Transformer(size_of(experts), VOCABULARY.size)


def size_of(experts: dict[str, Any]) -> ModelConfig:
    """Sides that 4 ranks do not divide: 30, 18."""
    given = ExpertsConfig.model_validate(experts)
    return ModelConfig(num_layers=2, hidden_size=36, num_heads=3, ffn_size=30, experts=given)


def make_task(ranks: Ranks, experts: dict[str, Any]) -> Task[Batch]:
    """Pretraining of the small model on this rank's part of the samples."""
    steps = Steps(Samples(), VOCABULARY, 8, ranks.rank, ranks.world, ranks.config.accumulate)  # type: ignore[arg-type]
    task = pretraining(make_model(**experts), steps, ranks=ranks)
    parts = steps.accumulate
    return replace(task, batches=lambda start, stop, _: (steps[n] for n in range(start * parts, stop * parts)))


def train_small(
    ranks: Ranks, folder: Path, experts: dict[str, Any], loop: dict[str, Any] | None = None, steps: int = STEPS
) -> Outcome:
    """Ten steps of a small model, the same whoever does them."""
    task = make_task(ranks, experts)
    batches, seen = task.batches, list[tuple[str, ...]]()

    def noted(start: int, stop: int, workers: int) -> Iterator[Batch]:
        for batch in batches(start, stop, workers):
            seen.append(batch.keys)
            yield batch

    config = LOOP.override({"num_steps": steps, **(loop or {})})
    train(replace(task, batches=noted), config, folder, "test", {}, ranks)
    rows = read_metrics(folder / "metrics.jsonl")
    weights = whole_state(task.model, ranks)
    return Outcome([row["loss"] for row in rows], [row["gradient_norm"] for row in rows], rows, weights, seen)


def assert_same(found: Outcome, expected: Outcome, tolerance: float = 1e-5) -> None:
    """Losses, norms of gradients and weights."""
    torch.testing.assert_close(found.losses, expected.losses, atol=tolerance, rtol=0)
    torch.testing.assert_close(found.norms, expected.norms, atol=tolerance, rtol=1e-4)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        found_weight = found.weights[name]
        torch.testing.assert_close(
            found_weight, weight, atol=tolerance, rtol=0, msg=functools.partial("{}: {}".format, name)
        )


def alone(folder: Path, experts: dict[str, Any], loop: dict[str, Any] | None = None, **config: Any) -> Outcome:
    """The same training by one process without a group."""
    ranks = Ranks(ParallelConfig.model_validate(config)) if config else ALONE
    return train_small(ranks, folder, experts, loop)
