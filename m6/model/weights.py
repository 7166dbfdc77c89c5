"""Reading the weights of a checkpoint folder: found, verified, and loaded, or refused in one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from m6.config import UserError

WEIGHTS = "model.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first; one being written has another name until it is whole."""
    return sorted(folder.glob("step-*"))


def newest(folder: Path, stage: str) -> Path:
    """The newest checkpoint of a folder, or UserError."""
    found = checkpoints(folder)
    if not found:
        raise UserError(f"{folder}: no checkpoint here; run `m6 {stage}` first")
    return found[-1]


def checked_state(checkpoint: Path) -> dict[str, Any]:
    """What the checkpoint says of itself, once its files have the hashes it names. UserError if one has not."""
    remedy = f"remove {checkpoint} to go on from the one before"
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint / 'state.json'}: unreadable ({error}); {remedy}") from None
    for name, digest in state["sha256"].items():
        path = checkpoint / name
        if not path.exists() or sha256(path) != digest:
            raise UserError(f"{path}: missing, cut short or altered since it was written; {remedy}")
    return dict(state)


def load_weights(
    checkpoint: Path, model: nn.Module, load: Callable[[nn.Module, dict[str, Tensor]], Any] = nn.Module.load_state_dict
) -> None:
    """Fills a model from a checkpoint folder. UserError if the file is damaged or its tensors do not fit. `load` puts
    the tensors in their places, with a RuntimeError if it cannot."""
    checked_state(checkpoint)
    path = checkpoint / WEIGHTS
    try:
        load(model, load_file(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: its tensors do not fit the model of this config ({reason})") from None


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
