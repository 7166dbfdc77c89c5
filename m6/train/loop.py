"""The training loop: one for the image tokenizer and for the transformer.

    for batch of each step:  loss -> gradients -> check, clip -> update -> metrics -> checkpoint

The loop knows neither pictures nor text: what is trained gives it a `Task`, and data comes as an iterator of batches
from any step on. What decides the weights is the seed and the step, so a run that is killed and goes on ends with the
same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.run import Metrics, progress
from m6.train import checkpoint
from m6.train.config import LoopConfig
from m6.train.optimizer import Optimizers

B = TypeVar("B")


class NonFiniteLossError(UserError):
    """The loss or a gradient is not a number. Raised before the update, so that the last checkpoint is sound."""


@dataclass
class Task(Generic[B]):
    """What the loop trains."""

    model: nn.Module
    loss: Callable[[B], tuple[Tensor, dict[str, tuple[float, float]]]]
    """A batch to its loss, and figures as (sum, count), which are averaged over the logged steps."""
    batches: Callable[[int, int, int], Iterator[B]]
    """The batches of steps [start, stop), with that many worker processes."""
    tokens: Callable[[B], int]
    """How much work a batch is: real tokens, or pictures."""
    describe: Callable[[B], str]
    """What is in a batch, for the message when its loss is not finite."""
    matrices: tuple[str, ...] = ()
    """Parameters for Muon."""
    after_step: Callable[[], None] = lambda: None
    """Called after each update of the weights."""


def train(task: Task[B], config: LoopConfig, folder: Path, name: str, about: dict[str, Any]) -> dict[str, float]:
    """Trains up to `num_steps`, from the newest checkpoint in `folder` on; returns figures of the whole training.

    `about` is the resolved config, kept in every checkpoint. Raises NonFiniteLossError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizers = Optimizers(task.model, config.optimizer, config.num_steps, task.matrices)
    start = checkpoint.resume(folder, task.model, optimizers)
    metrics = Metrics(folder / "metrics.jsonl", start + 1)  # rows are named by finished updates
    task.model.train()
    dtype = matrix_dtype(config.precision)
    window = Window()
    with progress(config.num_steps, name, start=start) as bar:
        for step, batch in zip(
            range(start, config.num_steps), task.batches(start, config.num_steps, config.num_workers), strict=True
        ):
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                loss, figures = task.loss(batch)
            loss.backward()
            norm = optimizers.clip()
            if not (torch.isfinite(loss) and norm < float("inf")):
                raise NonFiniteLossError(
                    f"{name}: step {step}: loss {loss.item()}, gradient norm {norm}; nothing was updated. "
                    f"In the batch: {task.describe(batch)}. Look at these; or lower the learning rates and start anew"
                )
            share = optimizers.step(step)
            task.after_step()
            window.add(task.tokens(batch), {**figures, "loss": (loss.item(), 1.0), "gradient_norm": (norm, 1.0)})
            done = step + 1
            if done % config.log_every == 0 or done == config.num_steps:
                row = window.close()
                metrics.log(done, rate=share, **row)
                bar.note(f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f}/s")
            bar.advance()
            if done % config.checkpoint_every == 0 or done == config.num_steps:
                checkpoint.save(folder, done, task.model, optimizers, about, config.keep_checkpoints)
    metrics.close()
    return {"steps": float(config.num_steps)}


def prepare_cpu(num_threads: int) -> None:
    """Settings without which training on a CPU crawls: no denormal numbers, as many threads as asked for.

    To be called before anything is computed: threads that exist already would keep their denormals (ten times slower).
    """
    torch.set_flush_denormal(True)
    if num_threads:
        torch.set_num_threads(num_threads)


def matrix_dtype(precision: str) -> torch.dtype:
    """What matrix products are computed in, for a precision as configs name it. On a CPU with matrix units bfloat16
    is several times as fast as float32, on one without it is slower."""
    if precision == "auto":
        precision = "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


class Window:
    """Figures gathered between two rows of metrics."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._tokens = 0
        self._began = time.perf_counter()

    def add(self, tokens: int, figures: dict[str, tuple[float, float]]) -> None:
        self._tokens += tokens
        for name, (total, count) in figures.items():
            self._sums[name][0] += total
            self._sums[name][1] += count

    def close(self) -> dict[str, float]:
        """Means, tokens per second and seconds since the last call; starts anew."""
        now = time.perf_counter()
        seconds = now - self._began
        row = {name: total / count for name, (total, count) in self._sums.items() if count}
        row |= {"tokens": float(self._tokens), "seconds": seconds, "tokens_per_second": self._tokens / seconds}
        self._sums.clear()
        self._tokens, self._began = 0, now
        return row
