"""The transformer with experts: it trains, decodes with its cache, and tells of its routing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m6.data.packing import pack
from m6.model.attention import rotary
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts.router import Router
from m6.model.masks import boolean_mask
from m6.model.transformer import Block, Transformer
from m6.train.config import OptimizerConfig
from m6.train.optimizer import Optimizers
from m6.train.pretrain import batch_loss, muon_matrices
from m6.train.routing import MODALITIES, modality, update_bias
from tests.unit.data.examples import VOCABULARY, mixed_samples


def model(layers: int = 2, every: int = 1, **experts: object) -> Transformer:
    torch.manual_seed(0)
    given = ExpertsConfig.model_validate({"num_experts": 4, "every": every, **experts})
    size = ModelConfig(num_layers=layers, hidden_size=32, num_heads=2, ffn_size=64, experts=given)
    return Transformer(size, VOCABULARY.size)


def test_every_nth_layer_has_experts_the_last_included() -> None:
    assert list(model(layers=6, every=3).experts()) == [2, 5]
    assert not model(layers=2, num_experts=1).experts()


def test_initial_weights_follow_the_rule_of_dense_ones() -> None:
    made = model().experts()[0]
    for weight, std in ((made.experts.up, 0.02), (made.experts.down, 0.02 / 2), (made.router.weight, 0.02)):
        assert weight.std().item() == pytest.approx(std, rel=0.2)  # 2 layers: sqrt(2 * 2) = 2


def test_routers_are_not_for_muon() -> None:
    names = set(muon_matrices(model()))
    assert {"blocks.0.ffn.experts.up", "blocks.1.ffn.experts.down"} <= names
    assert not any("router" in name for name in names)


@pytest.mark.parametrize("balance", ["loss", "bias"])
def test_it_trains(balance: str) -> None:
    made = model(balance=balance, capacity_factor=1.25)
    config = OptimizerConfig(learning_rate=3e-3, schedule=((0.0, 1.0), (1.0, 1.0)))
    optimizers = Optimizers(made, config, 25, muon_matrices(made))
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    losses = []
    for step in range(25):
        loss, figures = batch_loss(made, batch)
        loss.backward()
        optimizers.step(step)
        update_bias(made)
        losses.append(loss.item())
        assert figures["experts/0/balance"][0] >= 0
    assert losses[-1] < 0.6 * losses[0]
    routers = [layer.router.bias for layer in made.experts().values()] if balance == "bias" else []
    assert all(bias.any() for bias in routers)


def test_a_model_can_be_copied_between_forward_and_backward() -> None:
    made = model()
    loss, _ = batch_loss(made, pack(mixed_samples(), VOCABULARY, 8, 128))
    again = copy.deepcopy(made)
    assert not again.routings()
    assert made.routings()
    loss.backward()
    assert all(p.grad is None for p in again.parameters())


def test_a_dropped_token_leaves_a_block_as_attention_left_it() -> None:
    made = model(capacity_factor=0.5)
    block = made.blocks[0]
    assert isinstance(block, Block)
    torch.manual_seed(0)
    x = torch.randn(2, 8, 32)
    rotation = rotary(torch.zeros(2, 8, 3, dtype=torch.int64), 16, 10_000.0)
    out = block(x, rotation, None, None)
    attended = x + block.attention(block.attention_norm(x), rotation, None, None)
    kept = made.routings()[0].kept.view(2, 8)
    assert 0 < int(kept.sum()) < 16
    assert torch.equal(out[~kept], attended[~kept])
    assert (out[kept] != attended[kept]).any(-1).all()


def test_norms_router_residual_stream_and_loss_stay_float32_in_bfloat16() -> None:
    made = model(layers=3, every=2)
    seen: dict[str, set[torch.dtype]] = {}

    def note(kind: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def noted(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            seen.setdefault(kind, set()).update((given[0].dtype, out.dtype))

        return noted

    for module in [*made.blocks.modules(), made.norm]:
        if isinstance(module, nn.LayerNorm | Block):
            module.register_forward_hook(note(type(module).__name__))
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, given, out: seen.setdefault("Linear", set()).add(out.dtype))
        elif isinstance(module, Router):
            module.register_forward_hook(lambda _, given, out: seen.setdefault("Router", set()).add(out.gate.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = batch_loss(made, pack(mixed_samples(), VOCABULARY, 8, 64))
    exact = {torch.float32}
    assert seen == {"LayerNorm": exact, "Block": exact, "Router": exact, "Linear": {torch.bfloat16}}
    routing = made.routings()[1]
    assert {loss.dtype, routing.tally.balance_loss.dtype, routing.tally.z_loss.dtype, routing.entropy.dtype} == exact


def test_filling_of_the_labels_goes_to_no_expert() -> None:
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    made = model()
    batch_loss(made, batch)
    assert int(made.routings()[1].load.sum()) == len(batch.labels)
    assert int(made.routings()[0].load.sum()) == batch.num_tokens


def test_losses_of_the_router_are_in_the_loss() -> None:
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    made = model()
    bare = model(balance_weight=0.0, z_weight=0.0)
    with torch.no_grad():
        added = batch_loss(made, batch)[0] - batch_loss(bare, batch)[0]
    routings = made.routings().values()
    expected = sum(0.01 * r.tally.balance_loss + 0.001 * r.tally.z_loss for r in routings) / len(routings)
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


def test_cached_decoding_equals_the_full_forward() -> None:
    made = model(capacity_factor=1.0, top_k=2).eval()
    ids = torch.randint(0, VOCABULARY.size, (3, 9))
    position = F.pad(torch.arange(9).repeat(3, 1)[..., None], (0, 2))
    none = torch.zeros(3, 9, dtype=torch.int64)
    full = made(ids, position, boolean_mask(none, none, none == 0))
    caches = made.make_caches(3, 9)
    parts = [made(ids[:, i : i + 1], position[:, i : i + 1], None, caches=caches) for i in range(9)]
    torch.testing.assert_close(torch.cat(parts, 1), full, atol=1e-5, rtol=1e-5)
    assert made.routings()[0].expert.shape == (3, 2)


def test_modalities_are_those_of_the_samples() -> None:
    """Counted in the samples themselves: 4 patches; codes 9 written, 9 read, 6 written; all else is text."""
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    kinds = modality(batch)
    counts = {name: int((kinds == index).sum()) for index, name in enumerate(MODALITIES)}
    assert counts == {"text": batch.num_tokens - 28, "patch": 4, "code": 24}
    assert int((kinds < 0).sum()) == batch.ids.numel() - batch.num_tokens


def test_metrics_of_every_layer_and_modality() -> None:
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    made = model(capacity_factor=0.5)
    figures = batch_loss(made, batch)[1]
    first, last = made.routings()[0], made.routings()[1]
    mine = figures["experts/0/load"]
    assert mine[0] == pytest.approx(float(first.load.max()) * 4 / batch.num_tokens)
    assert figures["experts/0/dropped"] == (float(first.num_dropped), batch.num_tokens)
    assert figures["experts/0/dropped"][0] == pytest.approx(
        sum(figures[f"experts/0/dropped/{name}"][0] for name in MODALITIES)
    )
    assert figures["experts/1/entropy"] == pytest.approx(
        (float(last.entropy[: len(batch.labels)].sum()), len(batch.labels))
    )
    assert figures["experts/0/load/patch"][1] == 1
    assert figures["experts/1/load/patch"][1] == 0  # a patch has no label, the last layer sees none
    assert "experts/1/load/code" in figures


def test_a_dense_model_has_no_such_metrics() -> None:
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)
    assert not any(name.startswith("experts") for name in batch_loss(model(num_experts=1), batch)[1])
