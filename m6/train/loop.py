"""The training loop: one for the image tokenizer and for the transformer.

    for the batches of each step:  loss -> gradients -> check, clip -> update -> metrics -> checkpoint

The loop knows neither pictures nor text: what is trained gives it a `Task`, and data comes as an iterator of batches
from any step on. What decides the weights is the seed and the step, so a run that is killed and goes on ends with the
same weights, bit for bit, as one that was not; no state of a generator has to be kept, on any device.

With several ranks (`m6.parallel`) each does its part of every step: losses and gradients are sums over ranks and their
micro-batches, so that a step is the same for any number of them. Rank 0 alone writes metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.data.loader import one_ahead
from m6.parallel.fsdp import add_up_copies, shard
from m6.parallel.mesh import ALONE, AgreedError, Ranks
from m6.run import Metrics, progress
from m6.train.acceleration import accelerate
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig
from m6.train.hardware import choose_device, matrix_dtype
from m6.train.optimizer import Optimizers
from m6.train.window import Figures, Window, means

B = TypeVar("B")


class NonFiniteLossError(AgreedError):
    """The loss or a gradient is not a number. Raised before a checkpoint could hold its update."""


@dataclass
class Task(Generic[B]):
    """What the loop trains."""

    model: nn.Module
    loss: Callable[[B, Tensor | None], tuple[Tensor, Figures]]
    """A batch to its loss, and figures as (sum, count), which are averaged over the logged steps. With a total of
    `weight` [] over all batches of a step, its part of the loss of the step; with None it stands alone."""
    batches: Callable[[int, int, int], Iterator[B]]
    """The batches of steps [start, stop), with that many worker processes: for each step as many as it has
    micro-batches."""
    counts: Callable[[B], dict[str, float]]
    """How much work a batch, still on the CPU, is: "tokens", real ones, or pictures; and whatever else
    `throughput.batch_counts` counts."""
    weight: Callable[[B], Tensor]
    """What a batch weighs [] among those of a step."""
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


def train(
    task: Task[B], config: LoopConfig, folder: Path, name: str, about: dict[str, Any], ranks: Ranks = ALONE
) -> dict[str, float]:
    """Trains up to `num_steps`, from the newest checkpoint in `folder` on; returns figures of the whole training.

    `about` is the resolved config, kept in every checkpoint. Raises NonFiniteLossError. The model is left on the device
    that it was trained on, sharded if there are ranks.
    """
    if config.heldout_every and not task.heldout:
        raise UserError(f"{name}.loop.heldout_every: nothing is held out for this training; 0 turns it off")
    folder.mkdir(parents=True, exist_ok=True)
    device = choose_device(config.device)
    dtype = matrix_dtype(config.precision, device)
    if ranks.joined:
        with ranks.agreed():
            shard(task.model, ranks, dtype)
    else:
        task.model.to(device)
    task.model.train()
    optimizers = Optimizers(task.model, config.optimizer, config.num_steps, task.matrices, task.rate_shares, ranks)
    saved = Checkpoints(folder, task.model, optimizers, config, about, ranks)
    start = saved.resume()
    with ranks.agreed():
        accelerate(task.model, config, device)
    metrics = (
        Metrics(folder / "metrics.jsonl", start + 1) if ranks.first else None
    )  # rows are named by finished updates
    check = Check(name, device.type == "cpu", ranks)
    batches = arriving(task, config, start, device)
    window = Window(device, dtype, ranks)
    with saved, progress(config.num_steps, name, start=start, quiet=not ranks.first) as bar:
        for step in range(start, config.num_steps):
            micro_batches = [window.next_of(batches) for _ in range(ranks.config.accumulate)]
            total = ranks.sum(torch.stack([task.weight(batch) for batch, _ in micro_batches]).sum())
            own = torch.zeros((), device=device)  # this rank's part of the loss
            for number, (batch, counts) in enumerate(micro_batches, start=1):
                add_up_copies(task.model, number == len(micro_batches))
                with autocast(device, dtype):
                    loss, figures = task.loss(batch, total)
                loss.backward()
                own += loss.detach()
                window.add(counts, figures)
            norm = optimizers.clip()
            check.add(step, own, norm, ", ".join(task.describe(batch) for batch, _ in micro_batches))
            share = optimizers.step(step)
            task.after_step()
            window.add({}, {"loss": (own, 1 / ranks.world), "gradient_norm": (norm, 1.0)})
            done = step + 1
            last = done == config.num_steps
            if done % config.log_every == 0 or last:
                row = window.close() | saved.figures()
                check.look()
                if config.heldout_every and (done % config.heldout_every == 0 or last):
                    row |= heldout_losses(task, device, dtype)
                    window.begin()  # what this took is not training's
                if metrics is not None:
                    metrics.log(done, rate=share, **row)
                bar.note(f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f}/s")
            bar.advance()
            if config.checkpoint_every and (done % config.checkpoint_every == 0 or last):
                check.look()
                saved.save(done)
    if metrics is not None:
        metrics.close()
    return {"steps": float(config.num_steps)}


@torch.no_grad()
def heldout_losses(task: Task[B], device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """The loss on held-out batches and that of each objective, under heldout/..., means over all of them."""
    task.model.eval()
    found = []
    for batch in task.heldout:
        with autocast(device, dtype):
            loss, figures = task.loss(task.move(batch, device) if device.type != "cpu" else batch, None)
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
    """Stops a training whose loss or gradient is no number, on all ranks if it is so on one: on a CPU before the
    update, on CUDA, which would have to wait for each look, with the next row of metrics and before a checkpoint is
    written."""

    def __init__(self, name: str, at_once: bool, ranks: Ranks = ALONE) -> None:
        self._name = name
        self._at_once = at_once
        self._ranks = ranks
        self._waiting: list[tuple[int, Tensor, Tensor, str]] = []

    def add(self, step: int, loss: Tensor, norm: Tensor, about: str) -> None:
        """This rank's part of the loss and the norm [] of a step that is to be updated, and what was in its batch."""
        self._waiting.append((step, loss.detach(), norm, about))
        if self._at_once:
            self.look()

    def look(self) -> None:
        """Raises NonFiniteLossError for the first step since the last look that is not finite; all ranks
        have to look."""
        if not self._waiting:
            return
        both = torch.stack([torch.stack((loss.float(), norm)) for _, loss, norm, _ in self._waiting])
        finite = self._ranks.sum(both).isfinite().all(dim=1).tolist()
        if not all(finite):
            step, own, norm, about = self._waiting[finite.index(False)]
            parts = self._ranks.gather((float(own), about))
            loss = sum(part for part, _ in parts)
            at_fault = [about for part, about in parts if not math.isfinite(part)] or [about for _, about in parts]
            kept = "nothing was updated" if self._at_once else "no checkpoint holds its update"
            raise NonFiniteLossError(
                f"{self._name}: step {step}: loss {loss}, gradient norm {float(norm)}; {kept}. "
                f"In the batch: {', '.join(at_fault)}. Look at these; or lower the learning rates and start anew"
            )
        self._waiting.clear()
