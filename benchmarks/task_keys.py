"""Names of what decides a training or a row: settings, a run, examples. Equal ones have the same, changed another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m6.config import UserError
from m6.model.weights import newest_weights, state_of
from m6.tasks.example import Example
from m6.train.finetune import digest


def digest_of(about: Mapping[str, Any]) -> str:
    """A short name of some settings: equal ones have the same, whatever their order; changed ones another."""
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:12]


def weights_key(run: Path) -> str:
    """Names what a run has learnt and the settings it was made with. UserError for a folder that is no trained run."""
    try:
        state = state_of(newest_weights(run))["sha256"]
        files = [(run / name).read_bytes() for name in ("config.json", "tokenizer/tokenizer.json")]
    except (UserError, OSError, ValueError, KeyError):
        raise UserError(f"benchmarks: {run} is no pretrained run; make one with: m6 quickstart") from None
    return digest_of({"weights": state, "files": [hashlib.sha256(each).hexdigest() for each in files]})


def examples_key(examples: Sequence[Example]) -> str:
    """Names what examples ask, their answers, and their pictures by name, place and size."""
    pictures = [
        (each.picture.path.name, each.picture.start, each.picture.length, each.picture.path.stat().st_size)
        for each in examples
        if each.picture is not None
    ]
    return digest_of({"texts": digest(examples), "pictures": pictures})
