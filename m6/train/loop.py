"""The training loop: one for the image tokenizer and for the transformer.

    for the batches of each step:  loss -> gradients -> clip -> guard -> update -> metrics -> checkpoint

With a second player (`Opponent`) each step has two losses and two optimizers: both losses are taken and both gradients
computed before either player moves, and one decision lets both move or neither.

The loop knows neither pictures nor text: what is trained gives it a `Task`, and data comes as an iterator of batches
from any step on. What decides the weights is the seed and the step, so a run that is killed and goes on ends with the
same weights, bit for bit, as one that was not; no state of a generator has to be kept, on any device.

With several ranks (`m6.parallel`) each does its part of every step: losses and gradients are sums over ranks and their
micro-batches, so that a step is the same for any number of them. Rank 0 alone writes metrics.

A step that is not sound updates nothing, and SIGTERM makes it the last (`m6/train/guard.py`, `m6/train/stop.py`).
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
from m6.data.unusable import Skipped
from m6.model.weights import WEIGHTS
from m6.parallel.fsdp import add_up_copies, shard
from m6.parallel.mesh import ALONE, Ranks
from m6.run import EndedError, Metrics, progress
from m6.train.acceleration import accelerate
from m6.train.average import Average
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.guard import Guard, NonFiniteLossError
from m6.train.hardware import choose_device, matrix_dtype
from m6.train.optimizer import Optimizers, rate_at
from m6.train.stop import StopWish
from m6.train.window import Figures, Window, added, divided, sums

B = TypeVar("B")


__all__ = ["NonFiniteLossError", "Opponent", "Task", "train"]


@dataclass
class Opponent(Generic[B]):
    """A second player, as the discriminator of a GAN: a model that is updated after the first, by a loss of its own."""

    model: nn.Module
    loss: Callable[[B, Tensor | None], tuple[Tensor, Figures] | None]
    """As of `Task`, on what the loss of the task has made of the same batch just before; None while it does not play.
    It leaves no gradient in the model of the task, nor that one's loss in this model."""
    optimizer: OptimizerConfig


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
    describe: Callable[[B], Sequence[str]]
    """The keys of what is in a batch, for the message when its loss is not finite."""
    skipped: Callable[[B], Sequence[Skipped]] = lambda batch: ()
    """Documents that could not be used when a batch was made."""
    num_documents: Callable[[int], int] = lambda step: 0
    """Documents of all steps before this one."""
    max_skipped: float = 0.0
    """Share of them that may be skipped."""
    matrices: tuple[str, ...] = ()
    """Parameters for Muon."""
    rate_shares: Mapping[str, float] | None = None
    """Parameters with a share of AdamW's rate, by name."""
    after_step: Callable[[], None] = lambda: None
    """Called after each update of the weights."""
    after_skip: Callable[[], None] = lambda: None
    """Called instead after a step that is skipped, to forget what its forward has left."""
    move: Callable[[B, torch.device], B] = lambda batch, device: batch
    """A batch to a device other than the CPU, without waiting."""
    opponent: Opponent[B] | None = None
    """Who plays against the model, if anybody; for a training by one process."""
    average: float = 0.0
    """Decay of a running mean of the weights, which checkpoints then hold as the model, and with which the training
    leaves it; 0 takes no mean. For a training by one process."""
    look: Callable[[int, nn.Module], dict[str, float]] = lambda done, model: {}
    """Called with every row of metrics, the updates so far, and the model as it would be used; more for the row."""
    heldout: Sequence[B] = ()
    """Batches that are never trained on, whose loss is told now and then; on the CPU. With several ranks, those of this
    one: as many on each, filled up with some of no weight."""


def train(
    task: Task[B], config: LoopConfig, folder: Path, name: str, about: dict[str, Any], ranks: Ranks = ALONE
) -> dict[str, float]:
    """Trains up to `num_steps`, from the newest checkpoint in `folder` on; returns figures of the whole training.

    `about` is kept in every checkpoint: "config", the resolved one, and what its caller adds. The model is left on the
    device that it was trained on, sharded if there are ranks. Raises EndedError if it was asked to stop,
    NonFiniteLossError if too many steps are not sound, UserError if too many documents cannot be used.
    """
    if config.heldout_every and not task.heldout:
        raise UserError(f"{name}.loop.heldout_every: nothing is held out for this training; 0 turns it off")
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(task, config, folder, name, about, ranks)
    done = training.run()
    if done < config.num_steps:
        kept = "saved; the same command goes on" if config.checkpoint_every else "not saved, as checkpoint_every is 0"
        raise EndedError(f"{name}: stopped at step {done}, {kept}" if ranks.first else "", code=0)
    return {"steps": float(config.num_steps)}


class Training(Generic[B]):
    """A training that is set up: the model on its device, with what its newest checkpoint holds."""

    def __init__(
        self, task: Task[B], config: LoopConfig, folder: Path, name: str, about: dict[str, Any], ranks: Ranks
    ) -> None:
        """As of `train`."""
        self._task, self._config, self._name, self._ranks = task, config, name, ranks
        self._device = choose_device(config.device)
        self._dtype = matrix_dtype(config.precision, self._device)
        if ranks.joined:
            with ranks.agreed():
                shard(task.model, ranks, self._dtype)
        else:
            task.model.to(self._device)
        task.model.train()
        self._optimizers = Optimizers(
            task.model, config.optimizer, config.num_steps, task.matrices, task.rate_shares, ranks
        )
        self._average = Average(task.model, task.average) if task.average else None
        self._against: Optimizers | None = None
        others: dict[str, nn.Module | Optimizers] = {}
        if self._average:
            assert not ranks.joined
            others = {WEIGHTS: self._average.model, "trained": task.model}
        if task.opponent:
            assert not ranks.joined
            task.opponent.model.to(self._device).train()
            self._against = Optimizers(task.opponent.model, task.opponent.optimizer, config.num_steps)
            others |= {"opponent": task.opponent.model, "opponent_optimizer": self._against}
        self._saved = Checkpoints(folder, task.model, self._optimizers, config, about, ranks, others)
        self._start = self._saved.resume()
        with ranks.agreed():
            accelerate(task.model, config, self._device)
        # Rows are named by finished updates.
        self._metrics = Metrics(folder / "metrics.jsonl", self._start + 1) if ranks.first else None
        self._guard = Guard(task, name, folder, self._start, config.max_skipped, ranks)
        self._window = Window(self._device, self._dtype, ranks)

    def run(self) -> int:
        """Trains until all updates are done, or it is asked to stop; returns how many are done."""
        config, done = self._config, self._start
        batches = arriving(self._task, config, self._start, self._device)
        bar = progress(config.num_steps, self._name, start=self._start, quiet=not self._ranks.first)
        with self._saved, StopWish() as wish, bar:
            for step in range(self._start, config.num_steps):
                stop = self._step(step, batches, wish)
                done = step + 1
                last = stop or done == config.num_steps
                if done % config.log_every == 0 or last:
                    bar.note(self._tell(done))
                bar.advance()
                if config.checkpoint_every and (done % config.checkpoint_every == 0 or last):
                    self._ranks.at("checkpoint", step)
                    self._saved.save(done)
                if stop:
                    break
        self._guard.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._average:
            self._average.take()
        return done

    def _step(self, step: int, batches: Iterator[tuple[B, dict[str, float]]], wish: StopWish) -> bool:
        """One update, unless it is not sound; whether it is the last because somebody wishes so."""
        task, ranks, window = self._task, self._ranks, self._window
        ranks.at("data", step)
        parts = [window.next_of(batches) for _ in range(ranks.config.accumulate)]
        micro_batches = [batch for batch, _ in parts]
        total = ranks.sum(torch.stack([task.weight(batch) for batch in micro_batches]).sum())
        own, figures = self._backward(step, micro_batches, total)
        ranks.at("update", step)
        norm = self._optimizers.clip()
        norms = torch.maximum(norm, self._against.clip().to(norm.device)) if self._against else norm
        sound, stop = self._guard.decide(step, own, norms, micro_batches, wish.asked)
        if sound:
            self._optimizers.step(step)
            if self._against:
                self._against.step(step)
            task.after_step()
            if self._average:
                self._average.update(step + 1)
            window.add({}, {"loss": (own, 1 / ranks.world), "gradient_norm": (norm, 1.0)})
        else:
            self._optimizers.zero_grad()
            if self._against:
                self._against.zero_grad()
            task.after_skip()
        for (_, counts), found in zip(parts, figures, strict=True):
            window.add(counts, found if sound else {})
        return stop

    def _backward(self, step: int, micro_batches: Sequence[B], total: Tensor) -> tuple[Tensor, list[Figures]]:
        """Adds up the gradients of this rank's batches of a step, which on all ranks weigh `total` []; returns this
        rank's part of the loss [], and the figures of each batch."""
        own = torch.zeros((), device=self._device)
        found = []
        for number, batch in enumerate(micro_batches, start=1):
            self._ranks.at("forward", step)
            add_up_copies(self._task.model, number == len(micro_batches))
            with autocast(self._device, self._dtype):
                loss, figures = self._task.loss(batch, total)
            self._ranks.at("backward", step)
            loss.backward()
            own += loss.detach()
            found.append(figures | self._oppose(batch, total))
        return own, found

    def _oppose(self, batch: B, total: Tensor) -> Figures:
        """Adds up the gradients of the second player, if there is one and it plays; returns its figures."""
        if self._task.opponent is None:
            return {}
        with autocast(self._device, self._dtype):
            answer = self._task.opponent.loss(batch, total)
        if answer is None:
            return {}
        answer[0].backward()
        return answer[1]

    def _tell(self, done: int) -> str:
        """Writes a row of metrics; returns a few words of it."""
        config = self._config
        row = {"loss": math.nan, **self._window.close(), **self._saved.figures()}  # no loss if all steps were skipped
        if config.heldout_every and (done % config.heldout_every == 0 or done == config.num_steps):
            self._ranks.at("heldout", done - 1)
            row |= heldout_losses(self._task, self._device, self._dtype, self._ranks)
            self._window.begin()  # what this took is not training's
        if looked := self._task.look(done, self._average.model if self._average else self._task.model):
            row |= looked
            self._window.begin()
        if self._metrics is not None:
            row |= {"skipped_steps": self._guard.steps, "skipped_documents": self._guard.documents}
            self._metrics.log(done, rate=rate_at(done - 1, config.num_steps, config.optimizer), **row)
        self._guard.watch(done, row["loss"], config.largest_rise)
        return f"loss {row['loss']:.3f}, {row['tokens_per_second']:,.0f}/s"


@torch.no_grad()
def heldout_losses(task: Task[B], device: torch.device, dtype: torch.dtype, ranks: Ranks = ALONE) -> dict[str, float]:
    """The loss on held-out batches and that of each objective, under heldout/..., means over all of them, of all ranks;
    a batch of no weight does not count."""
    task.model.eval()
    found = []
    for batch in task.heldout:
        with autocast(device, dtype):
            loss, figures = task.loss(task.move(batch, device) if device.type != "cpu" else batch, None)
        losses = {name: figure for name, figure in figures.items() if name.startswith("loss/")}
        found.append({**losses, "loss": (loss, float(task.weight(batch) > 0))})
    task.model.train()
    return {f"heldout/{name}": mean for name, mean in divided(added(ranks.gather(sums(found)))).items()}


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
