"""Reading the weights of a checkpoint folder: found, verified, and loaded, or refused in one line.

    step-00000200/
        model/       the weights, by the names of the parameters
        optimizer/   what only the training needs
        state.json   format, step, resolved config, and the SHA-256 of every file (`m6.model.formats`)

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
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import _getdtype as dtype_of  # PyTorch reads headers by it too
from torch import Tensor, nn

from m6.config import UserError
from m6.model.formats import migrated
from m6.model.packed import SCALE, is_packed, unpacked

WEIGHTS, OPTIMIZER = "model", "optimizer"
"""Folders within a checkpoint."""
LOW_RANK = ("lora_a", "lora_b")
"""Ends of the names of the two thin matrices beside a weight (`m6.model.lora`)."""

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


def newest_weights(folder: Path) -> Path:
    """The newest checkpoint of the transformer in a run folder: finetuned, if it is one of that kind, else pretrained.
    UserError if there is none."""
    if not (folder / "finetune").is_dir():
        return newest(folder / "pretrain", "pretrain")
    if not checkpoints(folder / "finetune"):
        raise UserError(f"{folder}: its finetuning has no checkpoint yet; go on with `m6 finetune {folder}`")
    return newest(folder / "finetune", "finetune")


def beside(folder: Path) -> dict[str, str]:
    """SHA-256 of the tokenizers of a run folder, whose tokens alone mean something to the weights that are trained in
    it."""
    found = {"tokenizer": sha256(folder / "tokenizer" / "tokenizer.json")}
    for newest_one in checkpoints(folder / "vqgan")[-1:]:
        digests = state_of(newest_one)["sha256"]
        own = sorted(digest for name, digest in digests.items() if name.startswith(f"{WEIGHTS}/"))
        found["vqgan"] = hashlib.sha256("".join(own).encode()).hexdigest()
    return found


def check_beside(checkpoint: Path, folder: Path) -> None:
    """UserError unless the run folder has the tokenizers that the weights were trained beside, if they tell."""
    known = state_of(checkpoint)["beside"]
    for name, digest in beside(folder).items():
        if known.get(name, digest) != digest:
            raise UserError(
                f"{folder / name}: not the {name} that {checkpoint} was trained beside; put that back, or train anew"
            )


def state_of(checkpoint: Path) -> dict[str, Any]:
    """What the checkpoint says of itself, in today's format. UserError if it is unreadable or of a newer one."""
    path = checkpoint / "state.json"
    try:
        state = dict(json.loads(path.read_text(encoding="utf-8")))
        if "sha256" not in state:
            raise ValueError("it names no files")
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({error}); remove {checkpoint} to go on from the one before") from None
    return migrated(state, path)


def checked_state(checkpoint: Path, part: str = "", share: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """What the checkpoint says of itself, once its files have the hashes it names. UserError if one has not.

    part: the folder that is looked at; all by default. share: (rank, number of ranks) that look at some files each.
    """
    state = state_of(checkpoint)
    digests = {name: digest for name, digest in state["sha256"].items() if name.startswith(part)}
    rank, ranks = share
    for name in sorted(digests)[rank::ranks]:
        path = checkpoint / name
        if not path.exists() or sha256(path) != digests[name]:
            raise UserError(
                f"{path}: missing, cut short or altered since it was written; remove {checkpoint} to go on from the one"
                " before"
            )
    return state


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Fills a model from a checkpoint folder, or an exported one. UserError if a file of its weights is damaged, or
    they do not fit."""
    (files, _), into = opened(checkpoint), model.state_dict()
    check_fit(files.folder, files.tensors(), into)
    files.fill(into)


def opened(checkpoint: Path) -> tuple[TensorFiles, dict[str, Any]]:
    """The weights of a checkpoint or an exported folder, verified, updates of low rank (LoRA) added into them, those of
    a packed run as floats; and its state."""
    folder, state = weight_files(checkpoint)
    files = TensorFiles(folder)
    if any(name.endswith(SCALE) for name in files.tensors()):
        files = PackedFiles(folder)
    if any(name.endswith(f".{LOW_RANK[0]}") for name in files.tensors()):
        files = MergedFiles(folder, state["config"]["finetune"]["lora"]["alpha"])
    return files, state


def weight_files(checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    """The folder with the weights of a checkpoint or an exported folder, verified, and its state."""
    folder = checkpoint / WEIGHTS
    if folder.is_dir():
        return folder, checked_state(checkpoint, f"{WEIGHTS}/")
    return checkpoint, checked_state(checkpoint)


class Part(NamedTuple):
    """A tensor of a file: a whole one, or the part of one that begins at `offset`."""

    name: str
    offset: list[int]
    shape: list[int]
    dtype: torch.dtype

    @property
    def end(self) -> list[int]:
        return [first + length for first, length in zip(self.offset, self.shape, strict=True)]


class TensorFiles:
    """The tensors of a folder of safetensors files, whole or in parts. Headers are read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _parts(self) -> dict[Path, list[Part]]:
        """What the header of each file says."""
        found = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                places = json.loads((file.metadata() or {}).get("DCP_SHARDING_INFO", "{}"))
                headers = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dict
                found[path] = [
                    Part(
                        name, places[name]["saved_offsets"] if places else [0] * len(header.get_shape()),
                        header.get_shape(), dtype_of(header.get_dtype()),
                    )
                    for name, header in headers.items()
                ]  # fmt: skip
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Names, shapes and types of the whole tensors, without their numbers. UserError if there are none."""
        if not self._parts:
            raise UserError(f"{self.folder}: no tensors here")
        found: dict[str, Tensor] = {}
        for part in chain.from_iterable(self._parts.values()):
            known = found[part.name].shape if part.name in found else part.end
            found[part.name] = torch.empty([*map(max, known, part.end)], dtype=part.dtype, device="meta")
        return found

    def read(self) -> dict[str, Tensor]:
        """All tensors, whole."""
        whole = {name: torch.empty_like(tensor, device="cpu") for name, tensor in self.tensors().items()}
        self.fill(whole)
        return whole

    def fill(self, into: Mapping[str, Tensor]) -> None:
        """Reads tensors, in place, by name; of a DTensor the part of this rank."""
        if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in into.values()):
            # Only here, since it takes most of a second to load.
            from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
            from torch.distributed.checkpoint.state_dict_loader import load

            load(dict(into), storage_reader=HuggingFaceStorageReader(str(self.folder)), no_dist=True)
            return
        for path, parts in self._parts.items():
            with safe_open(path, framework="pt") as file:
                for part in parts:
                    if part.name in into:
                        place = tuple(map(slice, part.offset, part.end))
                        into[part.name].detach()[place].copy_(file.get_tensor(part.name))


class MergedFiles(TensorFiles):
    """The same, of a checkpoint whose weights have updates of low rank beside them: they are added while it is read."""

    def __init__(self, folder: Path, alpha: float) -> None:
        super().__init__(folder)
        self._alpha = alpha

    def tensors(self) -> dict[str, Tensor]:
        """Those of the model without updates."""
        return {name: tensor for name, tensor in super().tensors().items() if not name.endswith(LOW_RANK)}

    @torch.no_grad()
    def fill(self, into: Mapping[str, Tensor]) -> None:
        """Whole tensors alone, not those of ranks."""
        super().fill(into)
        shapes = super().tensors()
        for name, weight in into.items():
            pair = [name.removesuffix("weight") + each for each in LOW_RANK]
            if pair[0] in shapes:
                updates = {each: torch.empty_like(shapes[each], device="cpu") for each in pair}
                super().fill(updates)
                thin, tall = (updates[each] for each in pair)
                weight += self._alpha / len(thin) * (tall @ thin)


class PackedFiles(TensorFiles):
    """The same, of weights that lie there as whole numbers (`m6.model.packed`): read as float32."""

    def tensors(self) -> dict[str, Tensor]:
        """Those of the model, as they are read."""
        found = super().tensors()
        shown = {name: tensor.float() if is_packed(name, found) else tensor for name, tensor in found.items()}
        return {name: tensor for name, tensor in shown.items() if not name.endswith(SCALE)}

    def fill(self, into: Mapping[str, Tensor]) -> None:
        """Whole tensors alone, not those of ranks."""
        found = super().tensors()
        packed = [name for name in into if is_packed(name, found)]
        read = {each: torch.empty_like(found[each], device="cpu") for name in packed for each in (name, name + SCALE)}
        super().fill({**{name: tensor for name, tensor in into.items() if name not in packed}, **read})
        for name in packed:
            into[name].copy_(unpacked(read[name], read[name + SCALE]))


def read_tensors(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fills tensors, in place, of a DTensor the part of this rank, from a folder of verified files. UserError unless it
    holds just these names, with these shapes of the whole tensors."""
    files = TensorFiles(folder)
    check_fit(folder, files.tensors(), into)
    files.fill(into)


def check_fit(folder: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """UserError unless the tensors found in a folder have just the names and shapes that are wanted."""
    if reason := _misfit(found, wanted):
        raise UserError(f"{folder}: its tensors do not fit the model of this config ({reason})")


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
