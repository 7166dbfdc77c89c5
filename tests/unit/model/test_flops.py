"""Counted FLOPs against those that PyTorch sees in a real forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.flops import TRAINING, flops_per_token, forward_flops, patch_flops
from m6.model.sizes import SIZES
from m6.model.transformer import Transformer

SMALL = ModelConfig(num_layers=3, hidden_size=64, num_heads=2, ffn_size=96)
ROWS, LENGTH, VOCABULARY = 2, 24, 300


def experts(**values: Any) -> ModelConfig:
    """A loop over experts is matrix products that PyTorch counts."""
    return SMALL.model_copy(update={"experts": ExpertsConfig(num_experts=4, kernel="loop", **values)})


def traced(config: ModelConfig, vocabulary: int, *, pictures: bool = False, backward: bool = False) -> int:
    """FLOPs of all places and, as PyTorch counts attention, of whole squares."""
    torch.manual_seed(0)
    model = Transformer(config, vocabulary)
    ids, position = torch.zeros(ROWS, LENGTH, dtype=torch.int64), torch.zeros(ROWS, LENGTH, 3, dtype=torch.int64)
    mask = torch.zeros(ROWS, 1, LENGTH, LENGTH)
    pixels = (torch.zeros(1, 2 * config.patch_size, 3 * config.patch_size, 3, dtype=torch.uint8),) if pictures else ()
    places = torch.arange(6) if pictures else None
    # Fused kernels of the CPU are unknown to the counter; added up in place is a product too.
    added = {torch.ops.aten.addmm_: lambda total, left, right, **_: 2 * left[0] * left[1] * right[1]}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=added) as counter:
        logits = model.logits(model(ids, position, mask, pixels, places))
        if backward:
            (logits * 0.5).sum().backward()
    return counter.get_total_flops()


def counted(config: ModelConfig, vocabulary: int, patches: int = 0) -> float:
    tokens = ROWS * LENGTH
    pairs = ROWS * LENGTH**2
    flops = forward_flops(config, vocabulary, tokens=tokens, labels=tokens, pairs=pairs, patches=patches)
    return sum(flops.values())


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_a_forward_of_a_size(name: str) -> None:
    size = SIZES[name]
    assert traced(size.model, size.vocab_size) == counted(size.model, size.vocab_size)


@pytest.mark.parametrize("name", ["base", "10b"])
def test_a_forward_of_a_papers_dense_size(name: str) -> None:
    """Without memory for its weights."""
    size = SIZES[name]
    with torch.device("meta"):
        assert traced(size.model, size.vocab_size) == counted(size.model, size.vocab_size)


@pytest.mark.parametrize("name", ["100b", "m6t-1.4b"])
def test_a_forward_of_a_papers_size_with_fewer_experts(name: str) -> None:
    """Four in each layer of the first two: where a token goes is not known without weights."""
    config = SIZES[name].model.override({"num_layers": 2, "experts.num_experts": 4, "experts.kernel": "loop"})
    balance = sum(map(config.has_experts, range(2))) * 2 * ROWS * LENGTH * 4
    assert traced(config, VOCABULARY) == counted(config, VOCABULARY) + balance


@pytest.mark.parametrize("config", [SMALL, SIZES["nano"].model], ids=["small", "nano"])
def test_causal_is_what_a_text_takes_that_is_written_token_by_token(config: ModelConfig) -> None:
    """Each token then meets the keys in the cache: its own and those before it, and no others."""
    torch.manual_seed(0)
    model = Transformer(config, VOCABULARY).eval()
    caches = model.make_caches(1, LENGTH)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for at in range(LENGTH):
            position = torch.tensor([[[at, 0, 0]]])
            model.logits(model(torch.zeros(1, 1, dtype=torch.int64), position, None, caches=caches))
    causal = flops_per_token(config, VOCABULARY, LENGTH, causal=True)
    assert counter.get_total_flops() == LENGTH * sum(causal.values())


@pytest.mark.parametrize("config", [experts(), experts(top_k=2, every=2, ffn_size=32), experts(prototypes=2)])
def test_experts(config: ModelConfig) -> None:
    """The mean that the balance loss takes of the router's probabilities [N, E] is a product too; it is not counted."""
    balance = config.num_layers // config.experts.every * 2 * ROWS * LENGTH * 4
    assert traced(config, VOCABULARY) == counted(config, VOCABULARY) + balance


@pytest.mark.parametrize("stem", ["linear", "convolutional"])
def test_patches(stem: str) -> None:
    config = SMALL.override({"stem": stem})
    assert traced(config, VOCABULARY, pictures=True) == counted(config, VOCABULARY, patches=6)


@pytest.mark.parametrize(("config", "choices"), [(SMALL, 0), (experts(top_k=2), 2)])
def test_backward_takes_twice_as_much(config: ModelConfig, choices: int) -> None:
    """Beside the balance loss, the gradient of the weight of each choice is not counted: a product over D."""
    uncounted = config.num_layers * 2 * ROWS * LENGTH * (4 + choices * 64) if choices else 0
    expected = TRAINING * counted(config, VOCABULARY) + uncounted
    assert traced(config, VOCABULARY, backward=True) == expected


def test_pixels_need_no_gradient() -> None:
    """The one product without a gradient of its input, which three times a forward counts all the same."""
    expected = TRAINING * counted(SMALL, VOCABULARY, patches=6) - 6 * patch_flops(SMALL)
    assert traced(SMALL, VOCABULARY, pictures=True, backward=True) == expected


def test_per_token() -> None:
    whole = flops_per_token(SMALL, VOCABULARY, LENGTH, causal=False)
    assert ROWS * LENGTH * sum(whole.values()) == pytest.approx(counted(SMALL, VOCABULARY))
    causal = flops_per_token(SMALL, VOCABULARY, LENGTH, causal=True)
    assert causal["attention scores"] * 2 * LENGTH == whole["attention scores"] * (LENGTH + 1)
    assert {**causal, "attention scores": 0} == {**whole, "attention scores": 0}


def test_labels_alone_pass_the_last_feed_forward_and_the_output() -> None:
    work = {"tokens": 100, "pairs": 1000.0}
    few, all_places = (forward_flops(SMALL, VOCABULARY, labels=labels, **work) for labels in (10, 100))  # type: ignore[arg-type]
    assert all_places["feed-forward"] - few["feed-forward"] == 90 * 2 * 2 * 64 * 96
    assert few["output"] == 10 * 2 * 64 * VOCABULARY
