"""The training loop: one for the image tokenizer and for the transformer.

    for batch of each step:  loss -> gradients -> check, clip -> update -> metrics -> checkpoint

The loop knows neither pictures nor text: what is trained gives it a `Task`, and data comes as an iterator of batches
from any step on. What decides the weights is the seed and the step, so a run that is killed and goes on ends with the
same weights, bit for bit, as one that was not; no state of a generator has to be kept, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.data.loader import one_ahead
from m6.run import Metrics, progress
from m6.train import checkpoint
from m6.train.acceleration import accelerate
from m6.train.config import LoopConfig
from m6.train.hardware import choose_device, matrix_dtype
from m6.train.optimizer import Optimizers
from m6.train.window import Figures, Window, means

B = TypeVar("B")


class NonFiniteLossError(UserError):
    """The loss or a gradient is not a number. Raised before a checkpoint could hold its update."""


@dataclass
class Task(Generic[B]):
    """What the loop trains."""

    model: nn.Module
    loss: Callable[[B], tuple[Tensor, Figures]]
    """A batch to its loss, and figures as (sum, count), which are averaged over the logged steps."""
    batches: Callable[[int, int, int], Iterator[B]]
    """The batches of steps [start, stop), with that many worker processes."""
    counts: Callable[[B], dict[str, float]]
    """How much work a batch, still on the CPU, is: "tokens", real ones, or pictures; and whatever else
    `throughput.batch_counts` counts."""
    describe: Callable[[B], str]
    """What is in a batch, for the message when its loss is not finite."""
    matrices: tuple[str, ...] = ()
    """Parameters for Muon."""
    rate_shares: Mapping[str, float] | None = None
    """Parameters with a share of AdamW's rate, by name."""
    after_step: Callable[[], None] = lambda: None
    """Called after each update of the weights."""
    move: Callable[[B, torch.device], B] = lambda batch, device: batch
    """A batch to a device other than the CPU, without waiting."""
    heldout: Sequence[B] = ()
    """Batches that are never trained on, whose loss is told now and then; on the CPU."""


def train(task: Task[B], config: LoopConfig, folder: Path, name: str, about: dict[str, Any]) -> dict[str, float]:
    """Trains up to `num_steps`, from the newest checkpoint in `folder` on; returns figures of the whole training.

    `about` is the resolved config, kept in every checkpoint. Raises NonFiniteLossError. The model is left on the device
    that it was trained on.
    """
    if config.heldout_every and not task.heldout:
        raise UserError(f"{name}.loop.heldout_every: nothing is held out for this training; 0 turns it off")
    folder.mkdir(parents=True, exist_ok=True)
    device = choose_device(config.device)
    dtype = matrix_dtype(config.precision, device)
    task.model.to(device).train()
    optimizers = Optimizers(task.model, config.optimizer, config.num_steps, task.matrices, task.rate_shares)
    start = checkpoint.resume(folder, task.model, optimizers)
    metrics = Metrics(folder / "metrics.jsonl", start + 1)  # rows are named by finished updates
    accelerate(task.model, config, device)
    check = Check(name, at_once=device.type == "cpu")
    batches = arriving(task, config, start, device)
    window = Window(device, dtype)
    with progress(config.num_steps, name, start=start) as bar:
        for step in range(start, config.num_steps):
            batch, counts = window.next_of(batches)
            with autocast(device, dtype):
                loss, figures = task.loss(batch)
            loss.backward()
            norm = optimizers.clip()
            check.add(step, loss, norm, task.describe(batch))
            share = optimizers.step(step)
            task.after_step()
            window.add(counts, {**figures, "loss": (loss, 1.0), "gradient_norm": (norm, 1.0)})
            done = step + 1
            last = done == config.num_steps
            if done % config.log_every == 0 or last:
                row = window.close()
                check.look()
                if config.heldout_every and (done % config.heldout_every == 0 or last):
                    row |= heldout_losses(task, device, dtype)
                    window.begin()  # what this took is not training's
                metrics.log(done, rate=share, **row)
                bar.note(f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f}/s")
            bar.advance()
            if config.checkpoint_every and (done % config.checkpoint_every == 0 or last):
                check.look()
                checkpoint.save(folder, done, task.model, optimizers, about, config.keep_checkpoints)
    metrics.close()
    return {"steps": float(config.num_steps)}


@torch.no_grad()
def heldout_losses(task: Task[B], device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """The loss on held-out batches and that of each objective, under heldout/..., means over all of them."""
    task.model.eval()
    found = []
    for batch in task.heldout:
        with autocast(device, dtype):
            loss, figures = task.loss(task.move(batch, device) if device.type != "cpu" else batch)
        losses = {name: figure for name, figure in figures.items() if name.startswith("loss/")}
        found.append({**losses, "loss": (loss, 1.0)})
    task.model.train()
    return {f"heldout/{name}": mean for name, mean in means(found).items()}


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Matrix products in `dtype`, which may be float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def arriving(
    task: Task[B], config: LoopConfig, start: int, device: torch.device
) -> Iterator[tuple[B, dict[str, float]]]:
    """The batches from step `start` on, on the device, each with its counts. A CPU takes one after the other; for CUDA
    the next is on its way while one is computed."""
    batches = task.batches(start, config.num_steps, config.num_workers)
    if device.type == "cpu":
        return ((batch, task.counts(batch)) for batch in batches)
    return one_ahead((task.move(batch, device), task.counts(batch)) for batch in batches)


class Check:
    """Stops a training whose loss or gradient is no number: on a CPU before the update, on CUDA, which would have to
    wait for each look, with the next row of metrics and before a checkpoint is written."""

    def __init__(self, name: str, at_once: bool) -> None:
        self._name = name
        self._at_once = at_once
        self._waiting: list[tuple[int, Tensor, Tensor, str]] = []

    def add(self, step: int, loss: Tensor, norm: Tensor, about: str) -> None:
        """The loss and the norm [] of a step that is to be updated, and what was in its batch."""
        self._waiting.append((step, loss.detach(), norm, about))
        if self._at_once:
            self.look()

    def look(self) -> None:
        """Raises NonFiniteLossError for the first step since the last look that is not finite."""
        if not self._waiting:
            return
        both = torch.stack([torch.stack((loss.float(), norm)) for _, loss, norm, _ in self._waiting])
        finite = both.isfinite().all(dim=1).tolist()
        if not all(finite):
            step, loss, norm, about = self._waiting[finite.index(False)]
            kept = "nothing was updated" if self._at_once else "no checkpoint holds its update"
            raise NonFiniteLossError(
                f"{self._name}: step {step}: loss {float(loss)}, gradient norm {float(norm)}; {kept}. "
                f"In the batch: {about}. Look at these; or lower the learning rates and start anew"
            )
        self._waiting.clear()
