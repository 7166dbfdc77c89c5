"""The size table and its formulae, against the models themselves and against FLOPs counted while one runs."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m6.config import UserError
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.flops import causal_pairs, forward_flops, parameters
from m6.model.sizes import SIZES
from m6.model.transformer import Transformer
from m6.show import amount, show


def built(config: ModelConfig, vocab_size: int) -> Transformer:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return Transformer(config, vocab_size, nn.Identity() if config.stem == "backbone" else None)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_every_size_can_be_built_and_has_as_many_weights_as_the_formula(name: str) -> None:
    size = SIZES[name]
    assert count(built(size.model, size.vocab_size)) == sum(parameters(size.model, size.vocab_size).values())


@pytest.mark.parametrize("name", [name for name, size in SIZES.items() if size.said])
def test_sizes_of_the_paper_are_within_one_percent_of_their_layouts(name: str) -> None:
    size = SIZES[name]
    total = count(built(size.model, size.vocab_size))
    assert abs(total / size.computed - 1) < 0.01
    assert abs(total / size.said - 1) < 0.04  # the paper rounds: 103 to 100


@pytest.mark.parametrize("stem", ["linear", "convolutional", "backbone"])
def test_weights_of_every_stem(stem: str) -> None:
    config = ModelConfig.model_validate({"stem": stem, "patch_size": 16})
    assert count(built(config, 100)) == sum(parameters(config, 100).values())


def test_a_token_passes_its_own_experts_alone() -> None:
    chosen = ExpertsConfig(num_experts=8, prototypes=2, top_k=2, every=2, ffn_size=96)
    config = ModelConfig(num_layers=4, hidden_size=64, num_heads=2, ffn_size=128, experts=chosen)
    total, active = (parameters(config, 100, active=active) for active in (False, True))
    assert total["experts"] == 2 * 8 * (2 * 64 * 96)  # two layers of eight
    assert active["experts"] == 2 * 4 * (2 * 64 * 96)  # of which a token passes two of each prototype
    assert {part for part in total if total[part] != active[part]} == {"experts"}
    assert total["feed-forward"] == 2 * (2 * 64 * 128)


def traced(model: Transformer, length: int, at: torch.Tensor | None = None) -> int:
    """FLOPs of a forward as PyTorch counts them, in which every query meets every key."""
    ids, position = torch.zeros(1, length, dtype=torch.long), torch.zeros(1, length, 3, dtype=torch.int32)
    pictures = [torch.zeros(1, 16, 32, 3, dtype=torch.uint8)]  # eight patches of 8 x 8
    plain = sdpa_kernel(SDPBackend.MATH)  # written out: the counter does not know the fused one of the CPU
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        model.logits(model(ids, position, None, pictures, torch.arange(8), at=at))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["nano", "tiny"])
@pytest.mark.parametrize("labels", [None, 5])
def test_flops_are_those_of_a_real_forward(name: str, labels: int | None) -> None:
    size = SIZES[name]
    model = Transformer(size.model, size.vocab_size)
    at = None if labels is None else torch.arange(labels)
    expected = forward_flops(size.model, size.vocab_size, tokens=40, pairs=40**2, patches=8, labels=labels)
    assert traced(model, 40, at) == expected


def test_flops_of_experts_are_those_of_a_real_forward() -> None:
    """Computed one by one: the counter does not see into the grouped product."""
    chosen = ExpertsConfig(num_experts=4, top_k=2, every=2, ffn_size=96, kernel="loop")
    config = ModelConfig(num_layers=4, hidden_size=64, num_heads=2, ffn_size=128, experts=chosen)
    torch.manual_seed(0)
    expected = forward_flops(config, 100, tokens=256, pairs=256**2, patches=8)
    found = traced(Transformer(config, 100), 256)
    assert expected <= found < 1.1 * expected  # rows of an expert are filled up


def test_a_text_sees_itself_and_what_stands_before() -> None:
    assert causal_pairs(7) == torch.ones(7, 7).tril().sum()


def test_amounts() -> None:
    found = [amount(number) for number in (0, 999, 1_386_000, 10.1596e9, 1.00273e12)]
    assert found == ["0", "999", "1.386 M", "10.16 B", "1.003 T"]


def test_show_says_the_same_to_people_and_programs() -> None:
    found = json.loads(show(["base", "--json", "--length", "512"]))
    assert found["parameters"] == sum(parameters(SIZES["base"].model, 21_128).values())
    assert found["layout"] == "recalled"
    page = show(["base", "--length", "512"])
    assert amount(found["training_flops_per_token"]["causal"]) in page
    assert set(json.loads(show(["--json"]))) == set(SIZES)
    assert [line.split()[0] for line in show([]).splitlines()[1 : 1 + len(SIZES)]] == list(SIZES)
    assert show(["smoke"]).startswith("smoke")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bas"], "did you mean 'base'"),
        (["base", "--length", "0"], "give a number of tokens"),
        (["base", "--length"], "--length nothing"),
        (["base", "tiny"], "one size"),
        (["--wide"], "one size"),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        show(words)
