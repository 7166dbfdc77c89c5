"""Counts of a batch against the mask itself, and FLOPs against those that PyTorch counts in a real step."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m6.data.packing import pack
from m6.model.config import CodeAttentionConfig, ExpertsConfig, ModelConfig
from m6.model.flops import TRAINING, forward_flops
from m6.model.masks import PieceMask, boolean_mask, build_mask
from m6.model.transformer import Transformer
from m6.train.pretrain import LABELS_MULTIPLE, batch_loss
from m6.train.throughput import allowed_pairs, batch_counts, unseen_pairs
from tests.unit.data.examples import VOCABULARY, mixed_samples

SIZE = ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64, patch_size=4)


@pytest.mark.parametrize("row_length", [0, 64, 200])
def test_pairs_are_those_of_the_mask(row_length: int) -> None:
    batch = pack(mixed_samples(), VOCABULARY, 4, row_length)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal)[:, 0]
    real = batch.sample >= 0
    assert allowed_pairs(batch) == int((mask & real[:, :, None]).sum())


@pytest.mark.parametrize("pattern", ["full", "window", "row_column", "window_strided"])
def test_pairs_of_painted_codes_are_those_of_their_rule(pattern: str) -> None:
    codes = CodeAttentionConfig.model_validate({"pattern": pattern, "rows": 1, "columns": 1, "stride": 2})
    batch = pack(mixed_samples(), VOCABULARY, 4, 64)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal, batch.position, codes)[:, 0]
    real = batch.sample >= 0
    assert allowed_pairs(batch) - unseen_pairs(batch, codes) == int((mask & real[:, :, None]).sum())


def test_plain_text_is_half_a_square() -> None:
    text = [one for one in mixed_samples() if not one.prefix and not one.branches[0].prefix][:1]
    batch = pack(text, VOCABULARY, 4, 0)
    assert allowed_pairs(batch) == batch.num_tokens * (batch.num_tokens + 1) // 2


def test_flops_are_those_that_are_computed() -> None:
    """Padding is computed too, so all places count as tokens, and of each sample the whole square; pixels need no
    gradient."""
    batch = pack(mixed_samples(), VOCABULARY, 4, 64)
    rows, length = batch.ids.shape
    labels = len(batch.labels) + -len(batch.labels) % LABELS_MULTIPLE
    patches = len(batch.patch_at)
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    assert isinstance(mask, PieceMask)
    pairs = sum(piece**2 for piece in mask.lengths)
    assert pairs < rows * length**2
    model = Transformer(SIZE, VOCABULARY.size)
    added = {torch.ops.aten.addmm_: lambda total, left, right, **_: 2 * left[0] * left[1] * right[1]}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=added) as counter:
        batch_loss(model, batch)[0].backward()
    ours = forward_flops(SIZE, VOCABULARY.size, tokens=rows * length, patches=patches, labels=labels, pairs=pairs)
    no_gradient = 2 * patches * SIZE.hidden_size * 3 * SIZE.patch_size**2
    assert counter.get_total_flops() == TRAINING * sum(ours.values()) - no_gradient


def test_an_expert_counts_where_a_token_passes() -> None:
    work = {"tokens": 100, "patches": 0, "labels": 10, "pairs": 1000}
    experts = SIZE.override({"experts": ExpertsConfig(num_experts=8, top_k=2, every=2).model_dump()})
    many, one = (sum(forward_flops(config, VOCABULARY.size, **work).values()) for config in (experts, SIZE))
    assert many - one == 2 * 10 * (2 * 32 * 64 + 8 * 32)  # in the last layer, which labels alone pass; and its router


def test_counts_of_modalities_add_up() -> None:
    batch = pack(mixed_samples(), VOCABULARY, 4, 64)
    counts = batch_counts(batch, SIZE, VOCABULARY)
    assert sum(count for name, count in counts.items() if name.startswith("tokens/")) == counts["tokens"]
    assert counts["places"] == batch.ids.numel()
    assert all(counts[f"tokens/{name}"] > 0 for name in ("text", "image_patches", "image_codes"))
    assert counts["flops"] < counts["flops_square"]


def test_torch_is_told_nothing_of_the_peak() -> None:
    from m6.train.hardware import measured_peak

    state = torch.get_rng_state()
    assert measured_peak(torch.device("cpu"), torch.float32) > 1e8
    assert torch.equal(torch.get_rng_state(), state)
