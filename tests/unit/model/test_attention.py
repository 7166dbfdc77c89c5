"""Attention and its positions, against the formulae written out in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from m6.data.packing import Batch, pack
from m6.data.sample import Branch, Sample, Text
from m6.model.attention import PLANE_BASE, Attention, Cache, attend, rotary, rotate
from m6.model.config import ModelConfig
from m6.model.masks import Mask, block_mask, boolean_mask, piece_mask
from tests.unit.data.examples import VOCABULARY, mixed_samples

HEADS, SIZE = 2, 16


def packed() -> Batch:
    """Several samples in a row, with prefixes, branches, a picture, codes and padding."""
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    assert (batch.sample < 0).any()
    assert (batch.branch > 1).any()
    assert (batch.sample > 0).any()
    return batch


def sees(batch: Batch, row: int, query: int, key: int) -> bool:
    """The three conditions of the rule, in words of its description."""
    same_sample = batch.sample[row, query] == batch.sample[row, key]
    shared_or_own = batch.branch[row, key] == 0 or batch.branch[row, key] == batch.branch[row, query]
    prefix_or_before = not batch.causal[row, key] or key <= query
    return bool(same_sample and shared_or_own and prefix_or_before)


def plain(query: Tensor, key: Tensor, value: Tensor, batch: Batch) -> Tensor:
    """softmax(q k / sqrt(K)) v over the keys that each query sees, one query at a time: [B, H, T, K] float64."""
    rows = []
    for row in range(query.shape[0]):
        for place in range(query.shape[2]):
            keys = [other for other in range(key.shape[2]) if sees(batch, row, place, other)]
            products = (query[row, :, place, None] * key[row, :, keys]).sum(-1) / math.sqrt(SIZE)
            weights = products.exp() / products.exp().sum(-1, keepdim=True)
            rows.append((weights[..., None] * value[row, :, keys]).sum(1))
    return torch.stack(rows).view(query.shape[0], -1, HEADS, SIZE).transpose(1, 2)


def float_mask(sample: Tensor, branch: Tensor, causal: Tensor) -> Tensor:
    allowed = boolean_mask(sample, branch, causal)
    return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


@pytest.mark.parametrize("form", ["boolean", "float", "pieces"])
def test_attention_is_a_masked_softmax(form: str) -> None:
    batch = packed()
    forms: dict[str, Callable[[Tensor, Tensor, Tensor], Mask]] = {
        "boolean": boolean_mask,
        "float": float_mask,
        "pieces": piece_mask,
    }
    torch.manual_seed(0)
    given = torch.randn(3, len(batch.ids), HEADS, batch.ids.shape[1], SIZE, dtype=torch.float64)
    upstream = torch.randn(given.shape[1:], dtype=torch.float64)
    results = []
    for x, mask in ((given, None), (given.float(), forms[form](batch.sample, batch.branch, batch.causal))):
        x = x.clone().requires_grad_()
        query, key, value = x.unbind()
        out = plain(query, key, value, batch) if mask is None else attend(query, key, value, mask)
        (gradient,) = torch.autograd.grad((out * upstream.to(out.dtype)).sum(), x)
        results.append((out.double(), gradient.double()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=2e-6)
    torch.testing.assert_close(results[1][1], results[0][1], rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_under_a_block_mask_is_a_masked_softmax() -> None:
    """Forward alone: on a CPU it has no way back."""
    batch = packed()
    torch.manual_seed(0)
    given = torch.randn(3, len(batch.ids), HEADS, batch.ids.shape[1], SIZE, dtype=torch.float64)
    query, key, value = given.float().unbind()
    out = attend(query, key, value, block_mask(batch.sample, batch.branch, batch.causal))
    query, key, value = given.unbind()
    torch.testing.assert_close(out.double(), plain(query, key, value, batch), rtol=0, atol=2e-6)


def test_attention_over_cached_keys_is_a_masked_softmax() -> None:
    """A sample with a prefix and a target: the prefix at once, then token after token, each seeing all before it."""
    sample = Sample("a", (), (Branch("x", (Text((40, 41, 42)),), Text((50, 51, 52, 53))),))
    batch = pack([sample], VOCABULARY, 8, 0)
    torch.manual_seed(0)
    given = torch.randn(3, 1, HEADS, batch.ids.shape[1], SIZE, dtype=torch.float64)
    query, key, value = given.float().unbind()
    cache = Cache(*torch.full((2, 1, HEADS, 20, SIZE), torch.nan))  # longer than what is filled
    parts, start = [], 0
    for end in range(3, batch.ids.shape[1] + 1):
        keys, values = cache.append(key[:, :, start:end], value[:, :, start:end])
        parts.append(attend(query[:, :, start:end], keys, values, None))
        start = end
    query, key, value = given.unbind()
    torch.testing.assert_close(torch.cat(parts, 2).double(), plain(query, key, value, batch), rtol=0, atol=2e-6)


def test_the_layer_is_the_formula_from_its_input_to_its_output() -> None:
    """Products, norms of queries and keys, rotation, softmax, product; in float64, from the weights themselves."""
    batch = packed()
    torch.manual_seed(0)
    layer = Attention(ModelConfig(hidden_size=HEADS * SIZE, num_heads=HEADS))
    x = torch.randn(*batch.ids.shape, HEADS * SIZE)
    mask = piece_mask(batch.sample, batch.branch, batch.causal)
    found = layer(x, rotary(batch.position, SIZE, 10_000.0), mask, None)
    query, key, value = (x.double() @ layer.qkv.weight.double().T).chunk(3, dim=-1)
    heads = [part.unflatten(-1, (HEADS, SIZE)).transpose(1, 2) for part in (query, key, value)]
    for index in range(2):
        centred = heads[index] - heads[index].mean(-1, keepdim=True)
        heads[index] = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        heads[index] = torch.stack([
            torch.stack([turned(heads[index][row, :, place], batch.position[row, place].tolist())
                         for place in range(x.shape[1])], dim=1)
            for row in range(x.shape[0])
        ])  # fmt: skip
    expected = plain(heads[0], heads[1], heads[2], batch).transpose(1, 2).flatten(2) @ layer.out.weight.double().T
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


def turned(x: Tensor, place: list[int]) -> Tensor:
    """Pairs (2 i, 2 i + 1) of x [.., SIZE] turned by the angle place / base^(j / n) of pair j of the n of its axis:
    half of the pairs turn with the order, a quarter each with row and column."""
    pairs = SIZE // 2
    axes = [(0, pairs // 2, 10_000.0), (1, pairs // 4, PLANE_BASE), (2, pairs // 4, PLANE_BASE)]
    out, at = torch.empty_like(x), 0
    for axis, count, base in axes:
        for j in range(count):
            angle = place[axis] / base ** (j / count)
            even, odd = x[..., at], x[..., at + 1]
            out[..., at] = even * math.cos(angle) - odd * math.sin(angle)
            out[..., at + 1] = even * math.sin(angle) + odd * math.cos(angle)
            at += 2
    return out


def test_rotation_is_the_formula_compiled_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    places = [[0, 0, 0], [7, 0, 0], [3, 5, 2], [1000, 0, 0], [4, 31, 64]]
    x = torch.randn(1, len(places), 1, SIZE)
    rotation = rotary(torch.tensor([places]), SIZE, 10_000.0)
    expected = torch.stack([turned(x[0, index, 0].double(), place) for index, place in enumerate(places)])
    torch.testing.assert_close(rotate(x, rotation)[0, :, 0].double(), expected, rtol=0, atol=2e-4)  # 1000 in float32
    torch.testing.assert_close(rotate(x, rotation)[0, :3, 0].double(), expected[:3], rtol=0, atol=1e-6)
    by_numbers = rotate(x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotate(x, rotation), by_numbers, rtol=0, atol=1e-6)
