"""Sharded equals single: losses of ten steps, norms and weights to 1e-5, with AdamW and with Muon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.distributed.launch import run_on
from tests.distributed.training import alone, assert_same, train_small

ADAMW = {"optimizer.muon_learning_rate": 0.0, "optimizer.learning_rate": 1e-3}
MUON = {"optimizer.learning_rate": 1e-3}


@pytest.mark.parametrize("loop", [ADAMW, MUON], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    ("world", "config"), [(2, {}), (4, {}), (4, {"replicate": 2}), (4, {"shard": 1, "replicate": 4})], ids=str
)
def test_sharded_equals_single(tmp_path: Path, loop: dict[str, Any], world: int, config: dict[str, Any]) -> None:
    expected = alone(tmp_path / "single", {}, loop)
    found = run_on(world, train_small, tmp_path / "sharded", {}, loop, **config)
    assert_same(found[0], expected)
