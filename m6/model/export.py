"""The weights of a checkpoint as whole tensors in files of Hugging Face's layout, or as whole numbers of eight bits.

    model.safetensors                     if one file holds them; else
    model-00001-of-0000N.safetensors      and
    model.safetensors.index.json          which tells the file of each tensor

One file at a time is in memory: tensors that are larger than all a file should hold have one of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from m6.model.formats import FORMAT
from m6.model.packed import pack
from m6.model.weights import WEIGHTS, opened, sha256
from m6.run import write_atomic


class Exported(NamedTuple):
    """What was written."""

    step: int
    tensors: int
    files: int
    size: int
    """Bytes of all tensors."""


def export_weights(checkpoint: Path, folder: Path, most: int) -> Exported:
    """Writes the weights of a checkpoint, bit for bit, into an empty folder, in files of `most` bytes; and state.json,
    by which `load_weights` verifies them. UserError if a file of the checkpoint is damaged."""
    files, state = opened(checkpoint)
    tensors = files.tensors()
    places = _places(tensors, most)
    for name in dict.fromkeys(places.values()):
        whole = {key: torch.empty_like(tensors[key], device="cpu") for key, place in places.items() if place == name}
        files.fill(whole)
        save_file(whole, folder / name, metadata={"format": "pt"})
        (folder / name).chmod(0o644)  # others read it too
        _sync(folder / name)
    digests = {name: sha256(folder / name) for name in sorted(set(places.values()))}
    size = sum(tensor.nbytes for tensor in tensors.values())
    if len(digests) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": places}
        write_atomic(folder / "model.safetensors.index.json", json.dumps(index, indent=1) + "\n")
    about = {"format": FORMAT, "step": state["step"], "sha256": digests}
    write_atomic(folder / "state.json", json.dumps(about, indent=1) + "\n")
    return Exported(state["step"], len(tensors), len(digests), size)


def pack_weights(checkpoint: Path, folder: Path, about: Mapping[str, Any], exact: bool = False) -> Exported:
    """Writes the weights of a checkpoint as a checkpoint of that name in a folder, without what only its training
    needs: as whole numbers of eight bits (`m6.model.packed`), or as they are if `exact`. about: what state.json tells
    beside. UserError if a file is damaged."""
    files, state = opened(checkpoint)
    tensors = files.read() if exact else pack(files.read())
    path = folder / checkpoint.name / WEIGHTS / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    _sync(path)
    digests = {f"{WEIGHTS}/{path.name}": sha256(path)}
    state = {"format": FORMAT, "step": state["step"], "beside": {}, "sha256": digests, **about}
    write_atomic(folder / checkpoint.name / "state.json", json.dumps(state, indent=1) + "\n")
    return Exported(state["step"], len(tensors), 1, sum(tensor.nbytes for tensor in tensors.values()))


def _places(tensors: Mapping[str, Tensor], most: int) -> dict[str, str]:
    """The file of each tensor, in order of their names."""
    numbers: dict[str, int] = {}
    count, filled = 1, 0
    for name, tensor in sorted(tensors.items()):
        if filled and filled + tensor.nbytes > most:
            count, filled = count + 1, 0
        filled += tensor.nbytes
        numbers[name] = count
    if count == 1:
        return dict.fromkeys(numbers, "model.safetensors")
    return {name: f"model-{number:05d}-of-{count:05d}.safetensors" for name, number in numbers.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
