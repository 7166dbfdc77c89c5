"""Checkpoints: everything a training needs to go on, in folders that are whole or not there.

    step-00000200/
        model.safetensors      the weights
        optimizer.safetensors  the optimizers' tensors, named part.parameter.key
        state.json             step, resolved config, and the SHA-256 of the two files

A checkpoint is written under a temporary name, synced, and renamed; then the oldest are removed. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m6.config import UserError
from m6.run import sync_folder
from m6.train.optimizer import Optimizers

FILES = ("model.safetensors", "optimizer.safetensors")


def save(folder: Path, step: int, model: nn.Module, optimizers: Optimizers, config: dict[str, Any], keep: int) -> None:
    """Writes the checkpoint of `step` finished updates and keeps the newest `keep` in `folder`."""
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary / FILES[0])
        save_file(flatten_state(optimizers.state_dict()), temporary / FILES[1])
        digests = {name: _sha256(temporary / name) for name in FILES}
        state = {"step": step, "sha256": digests, "config": config}
        (temporary / "state.json").write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")
        for path in temporary.iterdir():
            _sync_file(path)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").exists())


def resume(folder: Path, model: nn.Module, optimizers: Optimizers) -> int:
    """Loads the newest checkpoint, if there is one, and returns how many updates it has seen."""
    found = checkpoints(folder)
    if not found:
        return 0
    state = _checked_state(found[-1])
    load_weights(found[-1], model)
    optimizers.load_state_dict(unflatten_state(load_file(found[-1] / FILES[1]), optimizers.state_dict()))
    return int(state["step"])


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Fills a model from a checkpoint folder. UserError if the file is damaged or its tensors do not fit."""
    _checked_state(checkpoint)
    path = checkpoint / FILES[0]
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: its tensors do not fit the model of this config ({reason})") from None


def newest(folder: Path, what: str) -> Path:
    """The newest checkpoint of a folder, or UserError."""
    found = checkpoints(folder)
    if not found:
        raise UserError(f"{folder}: no checkpoint here; run `m6 {what}` first")
    return found[-1]


def flatten_state(states: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Optimizer states as named tensors, which is all they hold beside the settings of the config."""
    return {
        f"{part}.{index}.{key}": value.contiguous()
        for part, state in enumerate(states)
        for index, values in state["state"].items()
        for key, value in values.items()
    }


def unflatten_state(tensors: dict[str, Tensor], states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reverse of `flatten_state`; settings are taken from `states`."""
    restored = [{"state": {}, "param_groups": state["param_groups"]} for state in states]
    for name, tensor in tensors.items():
        part, index, key = name.split(".", 2)
        restored[int(part)]["state"].setdefault(int(index), {})[key] = tensor
    return restored


def _checked_state(checkpoint: Path) -> dict[str, Any]:
    remedy = f"remove {checkpoint} to go on from the one before"
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint / 'state.json'}: unreadable ({error}); {remedy}") from None
    for name, digest in state["sha256"].items():
        path = checkpoint / name
        if not path.exists() or _sha256(path) != digest:
            raise UserError(f"{path}: missing, cut short or altered since it was written; {remedy}")
    return dict(state)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_cpu_well(num_threads: int) -> None:
    """Settings without which CPU training crawls: no denormals, and as many threads as asked for."""
    torch.set_flush_denormal(True)
    if num_threads:
        torch.set_num_threads(num_threads)
