"""Initial weights: the same however a model is made, each drawn for itself, of the sizes that they should have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts.ffn import Experts
from m6.model.initial import initialise, materialise
from m6.model.transformer import Transformer

SIZE = ModelConfig(num_layers=2, hidden_size=64, num_heads=2, ffn_size=128, stem="convolutional",
                   experts=ExpertsConfig(num_experts=4, every=2, balance="bias"))  # fmt: skip


def experts_of(model: Transformer) -> Experts:
    return model.experts()[1].experts


def make(seed: int, device: str = "cpu") -> Transformer:
    torch.manual_seed(seed)
    with torch.device(device):
        return Transformer(SIZE, 500)


def test_weights_follow_from_the_seed_alone() -> None:
    first, second, other = make(0), make(0), make(1)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name
        if weight.dim() >= 2:
            assert not torch.equal(weight, other.state_dict()[name]), name


def test_a_model_without_weights_gets_those_of_one_made_with_them() -> None:
    made, expected = make(0, "meta"), make(0).state_dict()
    materialise(made.blocks[1], SIZE, made.seed, "cpu", "blocks.1")
    assert made.blocks[0].attention.qkv.weight.is_meta  # type: ignore[union-attr]
    materialise(made, SIZE, made.seed, "cpu")
    assert made.state_dict().keys() == expected.keys()
    assert [name for name, weight in made.state_dict().items() if not torch.equal(weight, expected[name])] == []


def test_what_has_weights_already_keeps_them() -> None:
    made = make(0, "meta")
    made.norm = nn.LayerNorm(64, bias=False)
    made.norm.weight.data.fill_(7.0)
    materialise(made, SIZE, made.seed, "cpu")
    assert made.norm.weight.eq(7.0).all()


def test_an_expert_is_the_same_wherever_it_is_held() -> None:
    whole, half = make(0), make(0)
    experts = experts_of(half)
    for name in ("up", "down"):
        setattr(experts, name, nn.Parameter(torch.zeros_like(getattr(experts, name)[2:])))
    experts.first = 2
    initialise(half, SIZE, half.seed)
    for name in ("up", "down"):
        assert torch.equal(getattr(experts, name), getattr(experts_of(whole), name)[2:])


def test_sizes_of_weights_by_hand() -> None:
    """0.02; divided by 2 = sqrt(2 * 2 layers) where the residual stream is written; norms do nothing at first."""
    for name, weight in make(0).named_parameters():
        if weight.dim() == 1:
            assert weight.eq(0.0 if name.endswith("bias") else 1.0).all(), name
        else:
            residual = name.endswith(("attention.out.weight", "ffn.down.weight", "experts.down"))
            assert float(weight.std()) == pytest.approx(0.01 if residual else 0.02, rel=0.1), name
            assert abs(float(weight.mean())) < 0.002, name
    different = [weight.flatten()[:4] for weight in make(0).parameters() if weight.dim() >= 2]
    assert len({tuple(part.tolist()) for part in different}) == len(different)
    up = experts_of(make(0)).up
    assert not torch.equal(up[0], up[1])
