"""Loader: batches by step number. Its whole state is one integer.

`Steps` makes the packed batch of any step on its own, so worker processes may prepare steps ahead, and their number
may change across a resume. With several ranks and micro-batches the documents of a step are dealt out to them in turn:
each makes its own alone, and what a step is made of is the same for any number of them.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from m6.config import UserError
from m6.data.config import DataConfig
from m6.data.packing import Batch, PatchGrid, pack
from m6.data.sample import Branch, Sample, Text
from m6.data.unusable import Skipped
from m6.tokenizer.vocabulary import Vocabulary

B = TypeVar("B")

BY_VALUE = 2**18
"""Bytes of a tensor up to which a worker sends its values. Larger ones are shared in memory, which takes so long to
arrange for each that a dozen small ones would cost more than to make them."""
LONGEST_STEP = 120
"""Seconds that a worker lives on after SIGTERM."""


class Samples(Protocol):
    """Which samples a step is made of: a `Mixture` of documents, or the examples of a task."""

    config: DataConfig

    def drawn(self, step: int) -> list[tuple[int, int]]:
        """What a step is made of."""

    def num_drawn(self, step: int) -> int:
        """How much all steps before this one are made of."""

    def part(self, step: int, part: int = 0, parts: int = 1) -> tuple[list[Sample], list[Skipped]]:
        """The samples of every `parts`-th of it from number `part` on; and what could not be used."""


class Steps(Dataset[Batch]):
    """Step number -> Batch; with `accumulate` micro-batches, number of step * accumulate + number of micro-batch."""

    def __init__(
        self,
        mixture: Samples,
        vocabulary: Vocabulary,
        patch_grid: PatchGrid,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.mixture = mixture
        self.vocabulary = vocabulary
        self.patch_grid = patch_grid
        self.rank = rank
        self.world = world
        self.accumulate = accumulate

    def __getitem__(self, number: int) -> Batch:
        step, part = divmod(number, self.accumulate)
        parts = self.world * self.accumulate
        samples, skipped = self.mixture.part(step, part * self.world + self.rank, parts)
        if not samples:  # documents that make no sample, by chance all of this part
            return replace(self.idle(), skipped=tuple(skipped))
        batch = pack(samples, self.vocabulary, self.patch_grid, self.mixture.config.row_length)
        return replace(batch, skipped=tuple(skipped))

    def idle(self) -> Batch:
        """A batch of nothing but padding, of no weight: for a rank that has to compute along with the others."""
        nothing = Sample("", (), (Branch("", (), Text(()), weight=0.0),))
        batch = pack([nothing], self.vocabulary, self.patch_grid, self.mixture.config.row_length)
        return replace(batch, sample=torch.full_like(batch.sample, -1), keys=())


def batches(steps: Dataset[B], start: int, stop: int, num_workers: int) -> Iterator[B]:
    """What `steps` has for steps `start` to `stop` - 1, in order. Pictures are decoded where they are prepared: in the
    worker processes, if there are any. UserError of a worker is raised as it was, and also if one is killed."""
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        collate_fn=_sent if num_workers else _as_it_is,
        worker_init_fn=_outlive_sigterm,
    )
    others = multiprocessing.active_children()
    workers: list[Any] = []
    try:
        begun = _begun(loader)
        workers += [child for child in multiprocessing.active_children() if child not in others]
        yield from map(_received, begun)
    except UserError as error:
        if not num_workers:
            raise
        # That of a worker comes with a trace before it.
        raise UserError(str(error).splitlines()[-1].removeprefix("m6.config.UserError: ")) from None
    except (RuntimeError, EOFError, ConnectionError) as error:  # the last two: it died while it handed a batch over
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "a process that prepares batches was killed, perhaps for want of memory; the same command goes on from the "
            "last checkpoint, and fewer loop.num_workers take less"
        ) from None
    finally:
        for worker in workers:
            worker.kill()


def _as_it_is(batch: B) -> B:
    return batch


def _sent(batch: B) -> B | dict[str, Any]:
    """A batch on its way out of a worker."""
    if not isinstance(batch, Batch):
        return batch
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    small = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.nbytes <= BY_VALUE}
    return values | {name: value.numpy() for name, value in small.items()}


def _received(sent: Any) -> Any:
    """It again."""
    if not isinstance(sent, dict):
        return sent
    small = {name: torch.from_numpy(value) for name, value in sent.items() if isinstance(value, np.ndarray)}
    values: dict[str, Any] = sent | small
    return Batch(**values)


def _outlive_sigterm(_: int) -> None:
    """A cluster that asks a job to stop asks all of its processes; the training may still need what a worker prepares
    for the step that it finishes, and ends its workers itself."""
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(LONGEST_STEP) and None)


def _begun(loader: DataLoader[B]) -> Iterator[B]:
    """Starts the workers. PyTorch then has a handler of signals that raises for a killed one in whatever line the
    process is just then; without it the loader finds out by itself, some seconds after it was asked for a batch."""
    before = signal.getsignal(signal.SIGCHLD)
    begun = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return begun


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch with its tensors on a CUDA device. They leave from pinned memory, so nothing waits for them here."""

    def moved(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        return value.pin_memory().to(device, non_blocking=True) if isinstance(value, Tensor) else value

    return replace(batch, **{field.name: moved(getattr(batch, field.name)) for field in fields(batch)})


def one_ahead(batches: Iterable[B]) -> Iterator[B]:
    """The same batches; each is asked for while the one before it is in use."""
    ahead: list[B] = []
    for batch in batches:
        ahead.append(batch)
        if len(ahead) == 2:
            yield ahead.pop(0)
    yield from ahead
