"""Reading the weights of a checkpoint folder: found, verified, and loaded, or refused in one line.

    step-00000200/
        model/       the weights, by the names of the parameters
        optimizer/   what only the training needs
        state.json   step, resolved config, and the SHA-256 of every file

Tensors lie in safetensors files: one, or one for each rank that trained, whose header tells where in the whole tensors
its parts belong (`torch.distributed.checkpoint.HuggingFaceStorageWriter`). Whoever reads them gets whole tensors, or of
a DTensor the part of his rank, whatever number of ranks has written them; he reads no more than that, and waits for
nobody. An exported folder has its files beside state.json.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from m6.config import UserError

WEIGHTS, OPTIMIZER = "model", "optimizer"
"""Folders within a checkpoint."""

# To read and write without other processes is what is meant, from any thread; PyTorch warns of it each time.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first; one being written has another name until it is whole."""
    return sorted(folder.glob("step-*"))


def newest(folder: Path, stage: str) -> Path:
    """The newest checkpoint of a folder, or UserError."""
    found = checkpoints(folder)
    if not found:
        raise UserError(f"{folder}: no checkpoint here; run `m6 {stage}` first")
    return found[-1]


def checked_state(checkpoint: Path, part: str = "", share: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """What the checkpoint says of itself, once its files have the hashes it names. UserError if one has not.

    part: the folder that is looked at; all by default. share: (rank, number of ranks) that look at some files each.
    """
    remedy = f"remove {checkpoint} to go on from the one before"
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        digests = {name: digest for name, digest in state["sha256"].items() if name.startswith(part)}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{checkpoint / 'state.json'}: unreadable ({error}); {remedy}") from None
    rank, ranks = share
    for name in sorted(digests)[rank::ranks]:
        path = checkpoint / name
        if not path.exists() or sha256(path) != digests[name]:
            raise UserError(f"{path}: missing, cut short or altered since it was written; {remedy}")
    return dict(state)


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Fills a model from a checkpoint folder, or an exported one. UserError if a file of its weights is damaged, or
    they do not fit."""
    folder, _ = weight_files(checkpoint)
    read_tensors(folder, model.state_dict())


def weight_files(checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """The folder with the weights of a checkpoint or an exported folder, verified, and its state."""
    folder = checkpoint / WEIGHTS
    if folder.is_dir():
        return folder, checked_state(checkpoint, f"{WEIGHTS}/")
    return checkpoint, checked_state(checkpoint)


class TensorFiles(HuggingFaceStorageReader):
    """The tensors of a folder of safetensors files, whole or in parts. Headers are read once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder

    @cached_property
    def _headers(self) -> Metadata:
        return super().read_metadata()

    def read_metadata(self) -> Metadata:
        """What the headers of all files say."""
        return self._headers

    def tensors(self) -> dict[str, Tensor]:
        """Names, shapes and types of the whole tensors, without their numbers. UserError if there are none."""
        if not any(self.folder.glob("*.safetensors")):
            raise UserError(f"{self.folder}: no tensors here")
        found = {}
        for name, about in self._headers.state_dict_metadata.items():
            assert isinstance(about, TensorStorageMetadata)
            found[name] = torch.empty(about.size, dtype=about.properties.dtype, device="meta")
        return found

    def read(self) -> dict[str, Tensor]:
        """All tensors, whole."""
        whole = {name: torch.empty_like(tensor, device="cpu") for name, tensor in self.tensors().items()}
        self.fill(whole)
        return whole

    def fill(self, into: Mapping[str, Tensor]) -> None:
        """Reads tensors, in place, by name; of a DTensor the part of this rank."""
        load(dict(into), storage_reader=self, no_dist=True)


def read_tensors(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fills tensors, in place, of a DTensor the part of this rank, from a folder of verified files. UserError unless it
    holds just these names, with these shapes of the whole tensors."""
    files = TensorFiles(folder)
    if reason := _misfit(files.tensors(), into):
        raise UserError(f"{folder}: its tensors do not fit the model of this config ({reason})")
    files.fill(into)


def _misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    reasons = [f"{name} is missing" for name in wanted if name not in found]
    reasons += [f"{name} is not of this model" for name in found if name not in wanted]
    reasons += [
        f"{name} is {list(found[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return reasons[0] + (f", and {len(reasons) - 1} more" if reasons[1:] else "") if reasons else ""


def sha256(path: Path) -> str:
    """The digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
