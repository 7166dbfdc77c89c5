"""Checkpoints: everything a training needs to go on, in folders that are whole or not there.

    step-00000200/
        model.safetensors      the weights
        optimizer.safetensors  the optimizers' tensors, named part.parameter.key
        state.json             step, resolved config, and the SHA-256 of the two files

A checkpoint is written under a temporary name, synced, and renamed; then the oldest are removed. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m6.model.weights import WEIGHTS, checked_state, checkpoints, load_weights, sha256
from m6.parallel.mesh import ALONE, Ranks
from m6.parallel.state import load_whole_state, whole_state
from m6.run import sync_folder
from m6.train.optimizer import Optimizers

FILES = (WEIGHTS, "optimizer.safetensors")


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizers: Optimizers,
    config: dict[str, Any],
    keep: int,
    ranks: Ranks = ALONE,
) -> None:
    """Writes the checkpoint of `step` finished updates and keeps the newest `keep` in `folder`. All ranks have to call
    it, since a sharded model is gathered for it; rank 0 writes."""
    tensors = (whole_state(model, ranks), flatten_state(optimizers.state_dict()))
    if ranks.first:
        _write(folder, step, tensors, config, keep)
    ranks.wait()


def _write(
    folder: Path, step: int, tensors: tuple[dict[str, Tensor], dict[str, Tensor]], config: dict[str, Any], keep: int
) -> None:
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for name, file in zip(FILES, tensors, strict=True):
            save_file({key: tensor.contiguous() for key, tensor in file.items()}, temporary / name)
        digests = {name: sha256(temporary / name) for name in FILES}
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


def resume(folder: Path, model: nn.Module, optimizers: Optimizers, ranks: Ranks = ALONE) -> int:
    """Loads the newest checkpoint, if there is one, and returns how many updates it has seen. The number of ranks may
    be another than when it was written. UserError if it is damaged or does not fit."""
    found = checkpoints(folder)
    if not found:
        return 0
    state = checked_state(found[-1])
    load_weights(found[-1], model, partial(load_whole_state, ranks=ranks))
    optimizers.load_state_dict(unflatten_state(load_file(found[-1] / FILES[1]), optimizers.state_dict()))
    return int(state["step"])


def flatten_state(states: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Optimizer states as named tensors, which is all they hold beside the settings of the config. An 8-bit state of
    torchao is three: its codes, their scales and the table of values."""
    flat: dict[str, Tensor] = {}
    for part, state in enumerate(states):
        for index, values in state["state"].items():
            for key, value in values.items():
                name = f"{part}.{index}.{key}"
                if hasattr(value, "__tensor_flatten__"):
                    inner, _ = value.__tensor_flatten__()
                    flat |= {f"{name}.{field}": getattr(value, field).contiguous() for field in inner}
                else:
                    flat[name] = value.contiguous()
    return flat


def unflatten_state(tensors: dict[str, Tensor], states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reverse of `flatten_state`; settings are taken from `states`."""
    restored = [{"state": {}, "param_groups": state["param_groups"]} for state in states]
    for name, tensor in tensors.items():
        part, index, key = name.split(".", 2)
        values = restored[int(part)]["state"].setdefault(int(index), {})
        key, _, field = key.partition(".")
        if field:
            values.setdefault(key, {})[field] = tensor
        else:
            values[key] = tensor
    for state in restored:
        for values in state["state"].values():
            values |= {key: _eight_bit(value) for key, value in values.items() if isinstance(value, dict)}
    return restored


def _eight_bit(fields: dict[str, Tensor]) -> Tensor:
    from torchao.optim.subclass_8bit import OptimState8bit

    state: Tensor = OptimState8bit(**fields, signed=bool(fields["qmap"].min() < 0))
    return state


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
