"""Sharded equals single: losses of ten steps, norms and weights to 1e-5, with AdamW and with Muon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m6.parallel.matrices import Rows
from m6.parallel.mesh import Ranks
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


def sorted_rows(matrices: Tensor) -> Tensor:
    """Stands for what needs whole matrices: [n, R, C] with the rows of each in another order, and mixed."""
    return matrices.sort(dim=1).values + matrices.mean(dim=1, keepdim=True)


def turn_shards(ranks: Ranks, number: int, count: int) -> Tensor:
    """The rows on this rank of `number` matrices of `count` rows, turned."""
    matrices = torch.randn(number, count, 3, generator=torch.Generator().manual_seed(0))
    rows = Rows(count, ranks.dense["shard"].get_group())
    start = min(ranks.rank * rows.most, count)
    mine = matrices[:, start : start + rows.lengths()[ranks.rank]]
    return rows.turn(mine, sorted_rows)


@pytest.mark.parametrize(("number", "count"), [(9, 8), (5, 7), (1, 6), (4, 2)])
def test_matrices_are_turned_whole_whoever_has_their_rows(number: int, count: int) -> None:
    """More matrices than ranks, and fewer; rows that do not divide; ranks without any."""
    matrices = torch.randn(number, count, 3, generator=torch.Generator().manual_seed(0))
    found = torch.cat(run_on(4, turn_shards, number, count), dim=1)
    torch.testing.assert_close(found, sorted_rows(matrices))
