"""One checkpoint on disk, written by all ranks together: whole, or not there. And which of them stay.

A checkpoint (`m6.model.weights` shows its files) is written under a temporary name by
`torch.distributed.checkpoint`, each rank a file of its own parts; of what lies on several ranks alike, one writes it.
Each rank tells the hashes of its files, the first writes state.json, syncs, renames, and removes what is no longer
kept. Nothing is pickled. What was left by a training that was killed goes when the next checkpoint is written.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_saver import save

from m6.config import UserError
from m6.model.formats import FORMAT
from m6.model.weights import checkpoints, sha256
from m6.parallel.mesh import AgreedError, Ranks
from m6.run import sync_folder, write_atomic

FILE_BYTES = 2**31
"""Of a rank's tensors in one file, about: PyTorch holds a second copy of a file while it writes it."""


def write(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], about: dict[str, Any], ranks: Ranks
) -> None:
    """Writes the checkpoint of `step` finished updates: in a sub-folder for each key, tensors by name, as DTensors if
    ranks hold parts. about: what state.json tells beside. All ranks have to call it. What one of them cannot write is
    an AgreedError on all; then nothing is left of it."""
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    try:
        with ranks.agreed(), _told(folder):
            if ranks.first:
                _clear(folder)
                temporary.mkdir(parents=True)
        for part, named in tensors.items():
            _write_tensors(temporary / part, named, ranks)
        with ranks.agreed(), _told(folder):
            own = temporary.glob(f"*/shard-{ranks.rank + 1:05d}-*")
            hashed = {str(path.relative_to(temporary)): sha256(path) for path in own}
        digests = {name: digest for each in ranks.gather(hashed) for name, digest in sorted(each.items())}
        with ranks.agreed(), _told(folder):
            if ranks.first:
                state = {"format": FORMAT, "step": step, "ranks": ranks.world, "beside": {}, "sha256": digests}
                _finish(temporary, final, {**state, **about})
    except BaseException:
        if ranks.first:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_old(folder: Path, keep: int, every: int) -> None:
    """Removes all checkpoints but the newest `keep` and those of every `every`-th update, if that is not 0."""
    for old in checkpoints(folder)[:-keep]:
        if not every or int(old.name.removeprefix("step-")) % every:
            hidden = folder / f".{old.name}.tmp"  # half removed, it is no checkpoint
            os.replace(old, hidden)
            shutil.rmtree(hidden)


def _clear(folder: Path) -> None:
    for left in folder.glob(".step-*.tmp"):
        shutil.rmtree(left)


def _write_tensors(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    writer = HuggingFaceStorageWriter(str(folder), _files(tensors, ranks.world), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer, process_group=ranks.group, no_dist=not ranks.joined)
    except CheckpointException as error:  # the same on all ranks
        rank, (cause, _) = min(error.failures.items())
        if isinstance(cause, OSError):
            raise AgreedError(_line(folder.parent.parent, cause)) from None
        raise RuntimeError(f"{folder}: rank {rank} could not write its part") from cause


def _files(tensors: Mapping[str, Tensor], world: int) -> dict[str, int]:
    """In which file of its rank a tensor lies, from 1 on."""
    found, total = {}, 0
    for name, tensor in tensors.items():
        total += tensor.nbytes
        found[name] = max(1, ceil(total / world / FILE_BYTES))
    numbers = {file: number for number, file in enumerate(sorted(set(found.values())), start=1)}
    return {name: numbers[file] for name, file in found.items()}


def _finish(temporary: Path, final: Path, state: dict[str, Any]) -> None:
    there = {str(path.relative_to(temporary)) for path in temporary.glob("*/*")}
    if there != state["sha256"].keys():
        raise UserError(f"{final.parent}: ranks write to different disks; a run needs a folder that all nodes share")
    write_atomic(temporary / "state.json", json.dumps(state, ensure_ascii=False, indent=1))
    for part in {(temporary / name).parent for name in there}:
        sync_folder(part)
    sync_folder(temporary)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    sync_folder(final.parent)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(_line(folder, error)) from None


def _line(folder: Path, error: OSError) -> str:
    remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
    reason = error.strerror or str(error)
    return f"{folder}: a checkpoint cannot be written ({reason}); {remedy}, the same command goes on from the last one"
