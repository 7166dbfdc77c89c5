"""Checkpoints: everything a training needs to go on, written beside the training and read by any number of ranks.

`save` copies what lies on this rank into memory of the CPU, which is kept for the next time, and returns; a thread
writes the files (`m6.train.checkpoint_files`) over a process group of its own while training goes on. One is written
at a time. What goes wrong is raised when the next one is saved, or at the end, which waits for the last.

Names are those of parameters, "momentum.blocks.0.attention.qkv.weight" for the state of an optimizer, and shapes are
those of whole tensors: nothing tells how many ranks there were. A rank reads only its part.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from m6.model.weights import OPTIMIZER, WEIGHTS, checked_state, checkpoints, read_tensors
from m6.parallel.mesh import ALONE, Ranks
from m6.parallel.state import Part, model_parts
from m6.train.checkpoint_files import remove_old, write
from m6.train.config import LoopConfig
from m6.train.optimizer import Optimizers

GRACE = 30.0
"""Seconds that a training which has failed leaves to a checkpoint being written."""


class Checkpoints:
    """The checkpoints of a training in a folder. A context, whose end waits for the last one."""

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizers: Optimizers,
        config: LoopConfig,
        about: dict[str, Any],
        ranks: Ranks = ALONE,
        others: Mapping[str, nn.Module | Optimizers] = MappingProxyType({}),
    ) -> None:
        """about: what every checkpoint tells of its training: "config", the resolved one, and what its caller adds.
        others: models and optimizers beside these two, by the names of their folders; one of the same name goes in the
        place of the model."""
        self._folder = folder
        self._states = {WEIGHTS: model, OPTIMIZER: optimizers, **others}
        self._config, self._about, self._ranks = config, about, ranks
        self._apart: Ranks | None = None
        self._copies: dict[str, dict[str, tuple[Tensor, Tensor]]] = {name: {} for name in self._states}
        """Memory of the CPU for each part of this rank, and the same as a whole tensor."""
        self._thread: Thread | None = None
        self._failure: BaseException | None = None
        self._blocked: float | None = None

    def resume(self) -> int:
        """Loads the newest checkpoint, if there is one, and returns how many updates it has seen. All ranks have to
        call it; a UserError, if it is damaged or does not fit, is one on all."""
        (found, *_) = self._ranks.gather(checkpoints(self._folder)[-1:])
        if not found:
            return 0
        with self._ranks.agreed():
            state = checked_state(found[0], share=(self._ranks.rank, self._ranks.world))
        with self._ranks.agreed():
            for name, parts in self._parts().items():
                read_tensors(found[0] / name, {key: part.placed(self._ranks) for key, part in parts.items()})
        return int(state["step"])

    def save(self, step: int) -> None:
        """Takes the state after `step` updates, and has it written while training goes on. All ranks have to call it.
        Waits for the checkpoint before, and raises what went wrong with it."""
        began = time.perf_counter()
        self.wait()
        self._apart = self._apart or self._ranks.apart()
        tensors = self._copied()
        self._thread = Thread(target=self._write, args=(step, tensors, self._apart), name="checkpoint", daemon=True)
        self._thread.start()
        self._blocked = (self._blocked or 0.0) + time.perf_counter() - began

    def wait(self) -> None:
        """Until the last checkpoint is on disk. Raises what went wrong, a UserError for a full disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def figures(self) -> dict[str, float]:
        """For a row of metrics: seconds that training stood still for checkpoints since the last call, if for any."""
        blocked, self._blocked = self._blocked, None
        return {} if blocked is None else {"checkpoint_seconds": blocked}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join(GRACE)  # the other ranks may be gone

    def _parts(self) -> dict[str, dict[str, Part]]:
        return {
            name: state.parts_of_states() if isinstance(state, Optimizers) else model_parts(state)
            for name, state in self._states.items()
        }

    @torch.no_grad()
    def _copied(self) -> dict[str, dict[str, Tensor]]:
        for folder, parts in self._parts().items():
            copies = self._copies[folder]
            for name, part in parts.items():
                if name not in copies:
                    shape, dtype = part.local.shape, part.local.dtype
                    memory = torch.empty(shape, dtype=dtype, pin_memory=part.local.is_cuda)
                    copies[name] = memory, part.placed(self._ranks, memory)
                copies[name][0].copy_(part.local, non_blocking=True)
        if torch.cuda.is_initialized():
            torch.cuda.current_stream().synchronize()
        return {folder: {name: whole for name, (_, whole) in copies.items()} for folder, copies in self._copies.items()}

    def _write(self, step: int, tensors: dict[str, dict[str, Tensor]], ranks: Ranks) -> None:
        try:
            write(self._folder, step, tensors, self._about, ranks)
            with ranks.agreed():
                if ranks.first:
                    remove_old(self._folder, self._config.keep_checkpoints, self._config.keep_every)
        except BaseException as error:  # of a thread; told by the next `wait`
            self._failure = error
