"""Upcycled models against the dense ones they come from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from m6.config import UserError
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.transformer import Transformer
from m6.model.upcycle import upcycle

DENSE = ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64, init_std=0.1)
IDS = torch.arange(48).view(12, 4)
POSITION = torch.zeros(12, 4, 3, dtype=torch.int64)


def dense() -> Transformer:
    torch.manual_seed(0)
    return Transformer(DENSE, 50)


def with_experts(state: dict[str, Tensor], config: ModelConfig) -> Transformer:
    made = Transformer(config, 50)
    made.load_state_dict(state)
    return made


def logits(model: Transformer) -> Tensor:
    return model.logits(model(IDS, POSITION, None))


def sized(**experts: Any) -> ModelConfig:
    return DENSE.model_copy(update={"experts": ExpertsConfig(**{"num_experts": 4, **experts})})


@pytest.mark.parametrize(
    ("config", "router_std"),
    [
        (sized(top_k=2), 0.5),
        (sized(prototypes=2, top_k=2), 0.5),
        (sized(), 0.0),
        (sized(num_experts=8, prototypes=2, every=2, balance="bias"), 0.0),
    ],
    ids=["top 2", "top 2 of two prototypes", "top 1", "top 1 of two prototypes, every second layer"],
)
def test_it_computes_what_the_dense_model_does(config: ModelConfig, router_std: float) -> None:
    original = dense()
    made = with_experts(upcycle(original.state_dict(), config, router_std=router_std), config)
    torch.testing.assert_close(logits(made), logits(original), atol=1e-5, rtol=1e-4)


def test_with_a_small_router_it_does_so_nearly_and_uses_several_experts() -> None:
    original, config = dense(), sized()
    made = with_experts(upcycle(original.state_dict(), config), config)
    torch.testing.assert_close(logits(made), logits(original), atol=0.05, rtol=0.05)
    assert any((routing.load > 0).sum() > 2 for routing in made.routings().values())


def test_noise_tells_experts_apart() -> None:
    original, config = dense(), sized(top_k=2)
    state = upcycle(original.state_dict(), config, noise=0.1)
    up, source = state["blocks.0.ffn.experts.up"], original.state_dict()["blocks.0.ffn.up.weight"]
    assert not torch.equal(up[0], up[1])
    assert ((up - source).std() / source.std()).item() == pytest.approx(0.1, rel=0.05)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), upcycle(
        original.state_dict(), config, noise=0.1).values(), strict=True))  # fmt: skip


def test_what_does_not_fit_is_refused() -> None:
    state = dense().state_dict()
    with pytest.raises(UserError, match="dense layer 0 is 32 to 64 wide, an expert of this config 32 to 16"):
        upcycle(state, sized(ffn_size=16))
    with pytest.raises(UserError, match="the dense model has 2 layers, this config 1"):
        upcycle(state, sized().model_copy(update={"num_layers": 1}))
    with pytest.raises(UserError, match="the dense model has 2 layers, this config 3"):
        upcycle(state, sized().model_copy(update={"num_layers": 3}))
    with pytest.raises(UserError, match="num_experts is 1: a model without experts cannot be upcycled to"):
        upcycle(state, DENSE)
    with pytest.raises(UserError, match=r"no blocks.0.ffn.up.weight among the weights"):
        upcycle(upcycle(state, sized()), sized())
