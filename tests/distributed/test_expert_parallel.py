"""Experts on several ranks equal experts on one: outputs, gradients, training; dropless, with capacity, and sharded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts import MixtureOfExperts
from m6.parallel.expert_parallel import AllToAllDispatcher, spread_experts
from m6.parallel.mesh import Ranks
from tests.distributed.launch import run_on
from tests.distributed.training import alone, assert_same, train_small

WIDTH = 16
TOKENS = 24


def make_layer(**experts: Any) -> MixtureOfExperts:
    torch.manual_seed(0)
    config = ExpertsConfig.model_validate({"num_experts": 8, **experts})
    return MixtureOfExperts(ModelConfig(hidden_size=WIDTH, num_heads=2, ffn_size=32, experts=config))


def tokens_of(rank: int, skewed: bool) -> tuple[Tensor, Tensor]:
    """Tokens of a rank, and which are real: other numbers on each, none at all on rank 1; skewed ones are all alike, so
    that one expert gets all of them."""
    generator = torch.Generator().manual_seed(rank)
    x = torch.randn(TOKENS + rank, WIDTH, generator=generator)
    if skewed:
        x = torch.ones(TOKENS, WIDTH) + 1e-3 * torch.randn(TOKENS, WIDTH, generator=generator)
    real = torch.rand(len(x), generator=generator) < 0.8
    return x.requires_grad_(), real & (rank != 1)


def forward_and_backward(layer: MixtureOfExperts, rank: int, skewed: bool) -> tuple[Tensor, Tensor, int]:
    """Output and gradient of a rank's tokens, and how many choices were dropped; gradients of weights add up."""
    x, real = tokens_of(rank, skewed)
    out = layer(x, real)
    (out * torch.arange(1.0, out.numel() + 1).view_as(out).cos()).sum().backward()
    assert layer.routing is not None
    assert x.grad is not None
    return out.detach(), x.grad, int(layer.routing.num_dropped)


def compare(ranks: Ranks, experts: dict[str, Any], skewed: bool) -> tuple[int, int]:
    """On each rank: its own tokens through spread experts, against those of all ranks, one by one, through whole ones.
    Returns dropped choices and rows that came here."""
    whole, layer = make_layer(**experts), make_layer(**experts)
    spread_experts(layer, ranks)
    groups, mine = ranks.config.experts, ranks.mesh("experts").get_local_rank()
    assert isinstance(layer.dispatcher, AllToAllDispatcher)
    assert len(layer.experts.up) == 8 // groups
    out, gradient, dropped = forward_and_backward(layer, ranks.rank, skewed)
    copy = range(ranks.rank // groups * groups, (ranks.rank // groups + 1) * groups)
    expected = {rank: forward_and_backward(whole, rank, skewed) for rank in copy}
    torch.testing.assert_close(out, expected[ranks.rank][0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient, expected[ranks.rank][1], atol=1e-6, rtol=1e-5)
    assert dropped == expected[ranks.rank][2]
    for name in ("up", "down"):
        ours, theirs = getattr(layer.experts, name).grad, getattr(whole.experts, name).grad
        torch.testing.assert_close(ours, theirs.chunk(groups)[mine], atol=1e-5, rtol=1e-4)
        assert theirs.any()
    return dropped, int(layer.experts.up.grad.flatten(1).any(1).sum())  # type: ignore[union-attr]


@pytest.mark.parametrize("kernel", ["auto", "loop"])
@pytest.mark.parametrize(
    "experts", [{}, {"top_k": 2}, {"prototypes": 2, "top_k": 2}, {"top_k": 2, "capacity_factor": 0.75}], ids=str
)
def test_spread_experts_equal_local_ones(experts: dict[str, Any], kernel: str) -> None:
    """Rank 1 has nothing to send. A capacity is that of each rank's tokens."""
    results = run_on(4, compare, {**experts, "kernel": kernel}, False, experts=4)
    assert all(busy for _, busy in results)
    assert any(dropped for dropped, _ in results) == ("capacity_factor" in experts)


def test_a_rank_whose_experts_get_nothing_takes_part() -> None:
    results = run_on(2, compare, {}, True, experts=2)
    assert sorted(busy for _, busy in results) == [0, 1]


def test_two_groups_of_experts_do_not_mix() -> None:
    run_on(4, compare, {"top_k": 2}, False, experts=2)


# Muon makes all directions of a gradient alike, those too that are next to nothing but rounding: with few tokens for an
# expert these are many, so the rate is a fourth of the default.
MUON = {"optimizer.learning_rate": 1e-3, "optimizer.muon_learning_rate": 0.005}
ADAMW = {"optimizer.muon_learning_rate": 0.0, "optimizer.learning_rate": 1e-3}


@pytest.mark.parametrize("loop", [ADAMW, MUON], ids=["adamw", "muon"])
@pytest.mark.parametrize(
    ("world", "config"),
    [(2, {}), (2, {"experts": 2}), (4, {"experts": 2}), (4, {"experts": 2, "replicate": 2}), (4, {"experts": 4})],
    ids=str,
)
def test_a_sharded_training_with_experts_equals_single(
    tmp_path: Path, loop: dict[str, Any], world: int, config: dict[str, Any]
) -> None:
    """Dropless, with the balance loss and the z-loss of all ranks' tokens together."""
    experts = {"num_experts": 4, "top_k": 2, "ffn_size": 24, "balance_weight": 0.1, "z_weight": 0.01}
    expected = alone(tmp_path / "single", experts, loop)
    found = run_on(world, train_small, tmp_path / "sharded", experts, loop, **config)
    assert_same(found[0], expected)
    for name in ("balance", "z"):
        key = f"experts/1/{name}"
        assert found[0].rows[-1][key] == pytest.approx(expected.rows[-1][key], abs=1e-5)


def test_balancing_by_bias_follows_the_load_of_all_ranks(tmp_path: Path) -> None:
    experts = {"num_experts": 4, "balance": "bias", "balance_weight": 0.01}
    expected = alone(tmp_path / "single", experts, MUON)
    found = run_on(4, train_small, tmp_path / "sharded", experts, MUON, experts=2)
    assert_same(found[0], expected)
    assert found[0].weights["blocks.0.ffn.router.bias"].any()


def test_capacity_is_that_of_each_ranks_tokens(tmp_path: Path) -> None:
    """As that of each micro-batch, where one process takes the same parts of a step one after the other.
    The two losses of the router would differ: they are of all ranks together, but of each micro-batch for itself."""
    experts = {"num_experts": 4, "top_k": 2, "capacity_factor": 0.75, "balance": "none", "z_weight": 0.0}
    expected = alone(tmp_path / "single", experts, MUON, accumulate=4)
    found = run_on(4, train_small, tmp_path / "sharded", experts, MUON, experts=4)
    assert expected.rows[0]["experts/0/dropped"] > 0.05
    assert_same(found[0], expected)
