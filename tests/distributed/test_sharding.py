"""Sharded equals single: losses of ten steps, norms and weights to 1e-5, with AdamW and with Muon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m6.model.transformer import Transformer
from m6.parallel.fsdp import shard
from m6.parallel.matrices import Rows
from m6.parallel.mesh import Ranks
from m6.parallel.state import whole_state
from tests.distributed.launch import run_on
from tests.distributed.training import alone, assert_same, size_of, train_small
from tests.unit.data.examples import VOCABULARY

ADAMW = {"optimizer.muon_learning_rate": 0.0, "optimizer.learning_rate": 1e-3}
MUON = {"optimizer.learning_rate": 1e-3}


@pytest.mark.parametrize("loop", [ADAMW, MUON], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    ("world", "config"), [(2, {}), (4, {}), (4, {"replicate": 2}), (4, {"shard": 1, "replicate": 4})], ids=str
)
def test_sharded_equals_single(tmp_path: Path, loop: dict[str, Any], world: int, config: dict[str, Any]) -> None:
    expected = alone(tmp_path / "single", {}, loop)
    found = run_on(world, train_small, tmp_path / "sharded", {}, loop, **config)
    assert_same(found[0], expected, tolerance=5e-5)  # AdamW divides by moments, which may be next to nothing


def sorted_rows(matrices: Tensor) -> Tensor:
    """Stands for what needs whole matrices: [n, R, C] with the rows of each in another order, and mixed."""
    return matrices.sort(dim=1).values + matrices.mean(dim=1, keepdim=True)


def turn_shards(ranks: Ranks, number: int, count: int) -> Tensor:
    """The rows on this rank of `number` matrices of `count` rows, turned."""
    matrices = torch.randn(number, count, 3, generator=torch.Generator().manual_seed(0))
    rows = Rows(count, ranks.mesh("shard").get_group())
    start = min(ranks.rank * rows.most, count)
    mine = matrices[:, start : start + rows.lengths()[ranks.rank]]
    return rows.turn(mine, sorted_rows)


@pytest.mark.parametrize(("number", "count"), [(9, 8), (5, 7), (1, 6), (4, 2)])
def test_matrices_are_turned_whole_whoever_has_their_rows(number: int, count: int) -> None:
    """More matrices than ranks, and fewer; rows that do not divide; ranks without any."""
    matrices = torch.randn(number, count, 3, generator=torch.Generator().manual_seed(0))
    found = torch.cat(run_on(4, turn_shards, number, count), dim=1)
    torch.testing.assert_close(found, sorted_rows(matrices))


def made_where_it_lies(ranks: Ranks, experts: dict[str, Any]) -> dict[str, Tensor]:
    """The whole weights of a model that had none when it was sharded."""
    torch.manual_seed(3)
    with torch.device("meta"):
        model = Transformer(size_of(experts), VOCABULARY.size)
    assert all(weight.is_meta for weight in model.parameters())
    shard(model, ranks)
    return whole_state(model, ranks)


@pytest.mark.parametrize(
    ("world", "config"), [(2, {}), (4, {"experts": 2}), (4, {"experts": 4}), (4, {"replicate": 2})], ids=str
)
def test_a_model_made_on_many_ranks_has_the_weights_of_one_made_whole(world: int, config: dict[str, Any]) -> None:
    experts = {"num_experts": 4, "ffn_size": 24, "balance": "bias"}
    torch.manual_seed(3)
    expected = Transformer(size_of(experts), VOCABULARY.size).state_dict()
    found = run_on(world, made_where_it_lies, experts, **config)[0]
    assert found.keys() == expected.keys()
    assert [name for name, weight in expected.items() if not torch.equal(found[name], weight)] == []
