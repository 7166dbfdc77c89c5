"""The table of sizes: the papers' counts, and models that are really built, on the meta device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.flops import parameters
from m6.model.sizes import MARKS, SIZES, layout_parameters
from m6.model.transformer import Transformer
from m6.recipes.recipe import Recipe
from m6.show import NUMBERS


def built(config: ModelConfig, vocab_size: int) -> Transformer:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return Transformer(config, vocab_size, nn.Identity() if config.stem == "backbone" else None)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_counts_are_those_of_the_model(name: str) -> None:
    size = SIZES[name]
    counted = dict.fromkeys(parameters(size.model, 1), 0)
    parts = {"attention.": "attention", "experts.": "experts", "router.": "router", "norm": "norms"}
    for full_name, parameter in built(size.model, size.vocab_size).named_parameters():
        if full_name.startswith("patch_embedding."):
            part = "vision"
        elif "embedding" in full_name:
            part = "embedding"
        else:
            part = next((part for word, part in parts.items() if word in full_name), "feed-forward")
        counted[part] += parameter.numel()
    assert counted == parameters(size.model, size.vocab_size)


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("base", 327e6),
        ("10b", 10.17e9),  # what the layout comes to; the paper rounds to 10B
        ("100b", 103.2e9),  # the same, rounded to 100B
        ("m6t-1.4b", 1.38e9),  # the same, rounded to 1.4B
        ("m6t-10b", 10.8e9),
        ("m6t-100b", 103.2e9),
        ("m6t-1t", 1_002.7e9),
    ],
)
def test_counts_are_those_of_the_papers(name: str, paper: float) -> None:
    size = SIZES[name]
    assert count(built(size.model, size.vocab_size)) == pytest.approx(paper, rel=0.01)
    assert layout_parameters(size) == pytest.approx(paper, rel=0.01)


def test_paper_layout_by_hand() -> None:
    """M6-base of the paper: every weight and bias of a BERT block, counted one by one."""
    block = 4 * (1024 * 1024 + 1024) + (1024 * 4096 + 4096) + (4096 * 1024 + 1024) + 2 * (1024 + 1024)
    assert layout_parameters(SIZES["base"]) == 24 * block + 2 * 1024 + (21_128 + 512 + 2048) * 1024


@pytest.mark.parametrize("stem", ["linear", "convolutional", "backbone"])
def test_counts_of_every_stem(stem: str) -> None:
    config = ModelConfig().override({"stem": stem, "patch_size": 16})
    assert count(built(config, 100)) == sum(parameters(config, 100).values())


def test_a_token_of_100b_meets_as_much_as_one_of_base() -> None:
    """But for a router in every second layer."""
    large, base = SIZES["100b"], SIZES["base"]
    active = parameters(large.model, large.vocab_size, active=True)
    assert sum(active.values()) == count(built(base.model, base.vocab_size)) + 12 * 1024 * 1024


def test_a_token_meets_its_own_experts_alone() -> None:
    chosen = ExpertsConfig(num_experts=8, prototypes=2, top_k=2, every=2, ffn_size=96)
    config = ModelConfig(num_layers=4, hidden_size=64, num_heads=2, ffn_size=128, experts=chosen)
    total, active = (parameters(config, 100, active=active) for active in (False, True))
    assert total["experts"] == 2 * 8 * (2 * 64 * 96)  # two layers of eight
    assert active["experts"] == 2 * 4 * (2 * 64 * 96)  # of which a token passes two of each prototype
    assert {part for part in total if total[part] != active[part]} == {"experts"}


@pytest.mark.parametrize("name", SIZES)
def test_marks_are_of_numbers_that_are_shown(name: str) -> None:
    assert set(SIZES[name].marks) <= set(NUMBERS)
    assert set(SIZES[name].marks.values()) <= set(MARKS)


def test_a_recipe_names_a_size() -> None:
    recipe = Recipe(model=SIZES["tiny"].model)
    assert recipe.override({"model.num_layers": 3}).model == SIZES["tiny"].model.override({"num_layers": 3})
    assert SIZES["nano"].model == ModelConfig()
