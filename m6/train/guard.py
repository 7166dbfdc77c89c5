"""What decides at the end of each step whether it counts and whether it is the last: one decision of all ranks.

    skipped.jsonl   {"step": 17, "kind": "step", "loss": null, "gradient_norm": null, "samples": ["emoji/猫", ...]}
                    {"step": 17, "kind": "document", "key": "emoji/狗", "reason": "OSError: ..."}

A step whose loss or gradient is no number on any rank is skipped on all: nothing is updated. Documents that could not
be used arrive with the batches. Both are counted and written by rank 0, up to a limit, beyond which the training stops.
The rows of steps that are done again are dropped, so that counts and file are those of an unbroken run. `step` counts
from 0.

What each rank has to say, and whether it was asked to stop (SIGTERM), is summed in one small message a step.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from m6.parallel.mesh import AgreedError, Ranks
from m6.run import read_metrics, write_atomic
from m6.train.divergence import Level

if TYPE_CHECKING:
    from m6.train.loop import Task

B = TypeVar("B")

FILE = "skipped.jsonl"
ALWAYS_ALLOWED = 10
"""Documents that may be skipped whatever their share: the first of a thousand must not stop a training."""


class NonFiniteLossError(AgreedError):
    """The loss or a gradient is not a number, in more steps than may be skipped."""


class DivergedError(AgreedError):
    """The loss has risen further than it may."""


class Verdict(NamedTuple):
    """What all ranks do with a step."""

    sound: bool
    """Whether it updates anything."""
    stop: bool
    """Whether one of them was asked to stop."""


class Guard(Generic[B]):
    """Counts what is skipped in a training, from step `start` on."""

    def __init__(self, task: Task[B], name: str, folder: Path, start: int, max_skipped: int, ranks: Ranks) -> None:
        self._task = task
        self._name = name
        self._max_skipped = max_skipped
        self._ranks = ranks
        self._path = folder / FILE
        self._file: IO[str] | None = None
        self._unusable: list[str] = []
        rows = self._kept(start) if ranks.first else []
        kinds = [row["kind"] for row in rows]
        told = [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if row["step"] <= start]
        self.steps, self.documents, told = ranks.gather((kinds.count("step"), kinds.count("document"), told))[0]
        self._level = Level(told)

    def decide(self, step: int, own: Tensor, norm: Tensor, batches: Sequence[B], stop: bool) -> Verdict:
        """To be asked by all ranks before the update of a step; waits for the device.

        own, norm: this rank's part of the loss, and the norm of the gradient, []. batches: what they come from. stop:
        whether this rank was asked to. Raises NonFiniteLossError, or AgreedError, beyond what may be skipped.
        """
        bad = ~(own.isfinite() & norm.isfinite())
        unusable = [each for batch in batches for each in self._task.skipped(batch)]
        said = torch.tensor([stop, len(unusable)], dtype=torch.float64).to(own.device, non_blocking=True)
        num_bad, num_stop, num_unusable = self._ranks.sum(torch.cat([bad.double()[None], said])).tolist()
        if num_unusable:
            self._count_documents(step, [(each.key, each.reason) for each in unusable])
        if num_bad:
            self._count_step(step, own, norm, [key for batch in batches for key in self._task.describe(batch)])
        return Verdict(not num_bad, num_stop > 0)

    def watch(self, done: int, loss: float, largest_rise: float) -> None:
        """To be told the loss of every row, after `done` updates. DivergedError if its level (`Level`) stands more than
        `largest_rise` nats, unless that is 0, above the lowest before."""
        lowest, rise = self._level.lowest, self._level.add(loss)
        if 0 < largest_rise < rise:
            flag = f"--{self._name}.loop"
            raise DivergedError(
                f"{self._name}: diverged at step {done}: the loss is about {lowest + rise:.3f}, after {lowest:.3f} "
                f"before; start anew in another folder with lower rates ({flag}.optimizer.learning_rate, "
                f"muon_learning_rate), or go on with a larger {flag}.largest_rise"
            )

    def close(self) -> None:
        """Closes the file, and says what could not be used in this part of the training; a killed process loses nothing
        that was written."""
        if self._file is not None:
            self._file.close()
        if self._unusable and self._ranks.first:
            others = f", and {len(self._unusable) - 1} more" if self._unusable[1:] else ""
            print(f"{self._name}: not used: {self._unusable[0]}{others}; all stand in {self._path}", file=sys.stderr)

    def _kept(self, start: int) -> list[dict[str, Any]]:
        """The rows of the steps before `start`, which alone are left in the file."""
        if not self._path.exists():
            return []
        rows = [row for row in read_metrics(self._path) if row["step"] < start]
        write_atomic(self._path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return rows

    def _write(self, **row: Any) -> None:
        if not self._ranks.first:
            return
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115, closed by close()
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def _count_documents(self, step: int, own: list[tuple[str, str]]) -> None:
        found = [each for of_rank in self._ranks.gather(own) for each in of_rank]
        for key, reason in found:
            self._write(step=step, kind="document", key=key, reason=reason)
            self._unusable.append(f"{key}: {reason}")
        self.documents += len(found)
        tried = self._task.num_documents(step + 1) + self.documents  # in the place of each another is tried
        if self.documents > max(ALWAYS_ALLOWED, self._task.max_skipped * tried):
            key, reason = found[-1]
            raise AgreedError(
                f"{self._name}: {self.documents} of {tried} documents cannot be used, {self.documents / tried:.1%}; "
                f"max_skipped allows {self._task.max_skipped:.1%}. The last, {key}: {reason}. {self._path} has them all"
            )

    def _count_step(self, step: int, own: Tensor, norm: Tensor, keys: list[str]) -> None:
        parts = self._ranks.gather((float(own), keys))
        loss = sum(part for part, _ in parts)
        at_fault = [keys for part, keys in parts if not math.isfinite(part)] or [keys for _, keys in parts]
        samples = [key for keys in at_fault for key in keys]
        figures = {"loss": _number(loss), "gradient_norm": _number(float(norm))}
        self._write(step=step, kind="step", **figures, samples=samples)
        self.steps += 1
        what = f"{self._name}: step {step}: loss {loss}, gradient norm {float(norm)}"
        if self.steps > self._max_skipped:
            before = f", nor in {self.steps - 1} steps before" if self.steps > 1 else ""
            raise NonFiniteLossError(
                f"{what}; nothing was updated{before}. "
                f"In the batch: {', '.join(samples)}. Look at these; or lower the learning rates and start anew"
            )
        if self._ranks.first:
            count = f"{self.steps} of at most {self._max_skipped}"
            print(f"{what}; the step is skipped ({count}), its samples stand in {self._path}", file=sys.stderr)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
