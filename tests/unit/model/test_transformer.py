"""The transformer: start, positions, cache, and what it may and may not see."""

import math

import pytest
import torch
from torch.nn import functional as F

from m6.config import UserError
from m6.data.packing import pack
from m6.data.sample import Branch, Codes, Picture, Sample, Text
from m6.model.attention import Attention, attend, rotary, rotate
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.masks import boolean_mask, build_mask
from m6.model.transformer import Transformer
from m6.model.vision import BackboneStem
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.pretrain import batch_loss
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN
from tests.unit.data.examples import VOCABULARY, mixed_samples

SMALL = ModelConfig(num_layers=2, hidden_size=64, num_heads=2, ffn_size=128)


def test_first_loss_is_that_of_a_uniform_guess() -> None:
    torch.manual_seed(0)
    vocabulary = Vocabulary(text_size=2600, num_codes=1000)
    model = Transformer(ModelConfig(), vocabulary.size)
    batch = pack(mixed_samples(), vocabulary, 8, 256)
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    hidden = model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
    loss = F.cross_entropy(model.logits(hidden), batch.labels).item()
    assert loss == pytest.approx(math.log(vocabulary.size), rel=0.03)


def test_rotation_depends_on_offsets_alone() -> None:
    """The product of a turned query and a turned key is the same when both move together, on every axis."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 48)
    for shift in ([5, 0, 0], [0, 3, 0], [0, 0, 7], [2, 1, 4]):
        products = []
        for move in ([0, 0, 0], shift):
            at = [
                torch.tensor([[[a + m for a, m in zip(place, move, strict=True)]]]) for place in ([4, 1, 2], [9, 6, 3])
            ]
            turned = [rotate(x, rotary(place, 48, 10_000.0)) for x, place in zip((query, key), at, strict=True)]
            products.append((turned[0] * turned[1]).sum())
        torch.testing.assert_close(products[0], products[1], atol=1e-5, rtol=1e-5)


def test_rotation_tells_places_of_a_picture_apart_from_a_text_token() -> None:
    query, key = torch.ones(2, 1, 1, 1, 48)
    text = rotary(torch.tensor([[[5, 0, 0]]]), 48, 10_000.0)
    seen = [
        round(float((rotate(query, text) * rotate(key, rotary(torch.tensor([[[0, r, c]]]), 48, 10_000.0))).sum()), 3)
        for r in range(1, 9)
        for c in range(r, 9)  # rows and columns turn alike, so (r, c) and (c, r) differ only for unlike queries
    ]
    assert len(set(seen)) == len(seen)


def test_attention_in_bfloat16_is_that_of_float32() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 40, 16)
    allowed = torch.rand(2, 1, 40, 40) < 0.5
    allowed[..., 0] = True
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
    expected = attend(query, key, value, mask)
    written_out = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)
    assert written_out.dtype == torch.bfloat16
    torch.testing.assert_close(written_out.float(), expected, rtol=0.02, atol=0.03)


EXPERTS = SMALL.model_copy(update={"num_layers": 4, "experts": ExpertsConfig(num_experts=4, every=2)})


@pytest.mark.parametrize("size", [SMALL.model_copy(update={"num_layers": 4}), EXPERTS], ids=["dense", "experts"])
def test_a_model_in_bfloat16_is_that_of_float32(size: ModelConfig) -> None:
    """A bfloat16 has 8 bits, so a product is right to 2^-8 of its size; what is added up over four layers stays within
    four times that for hidden states and the loss, eight times for gradients, which pass all layers twice. (A token
    that changes its expert is another matter: routers are float32, and near ties are rare.)"""
    torch.manual_seed(0)
    model = Transformer(size, VOCABULARY.size)
    batch = pack(mixed_samples(), VOCABULARY, 8, 128)
    results = []
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            mask = build_mask(batch.sample, batch.branch, batch.causal)
            hidden = model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at)
            loss = batch_loss(model, batch)[0]
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert hidden.dtype == loss.dtype == gradient.dtype == torch.float32
        results.append((hidden.detach(), loss.detach(), gradient))
    for times, exact, found in zip((4, 4, 8), *results, strict=True):
        error = float((found - exact).norm() / exact.norm())
        assert 0 < error < times * 2**-8


def test_queries_keys_and_values_are_of_one_type_where_norms_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast of CUDA leaves norms in float32; FlexAttention is no operation that it casts for."""
    seen = []

    def spy(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: object) -> torch.Tensor:
        seen.append({query.dtype, key.dtype, value.dtype})
        return value

    norm = F.layer_norm
    monkeypatch.setattr("m6.model.attention.attend", spy)
    monkeypatch.setattr(F, "layer_norm", lambda x, *arguments: norm(x.float(), *arguments))
    layer = Attention(ModelConfig(hidden_size=32, num_heads=2))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 4, 32), rotary(torch.zeros(1, 4, 3, dtype=torch.int32), 16, 100.0), None, None)
    assert seen == [{torch.bfloat16}]


def test_cached_decoding_equals_the_full_forward() -> None:
    torch.manual_seed(0)
    model = Transformer(SMALL, VOCABULARY.size).eval()
    sample = Sample("a", (), (Branch("captioning", (Text((40, 41, 42)),), Text((50, 51, 52, 53))),))
    batch = pack([sample], VOCABULARY, 8, 0)
    full = model(batch.ids, batch.position, boolean_mask(batch.sample, batch.branch, batch.causal))
    caches = model.make_caches(1, 16)
    parts = [model(batch.ids[:, :3], batch.position[:, :3], None, caches=caches)]
    for at in range(3, batch.ids.shape[1]):
        parts.append(model(batch.ids[:, at : at + 1], batch.position[:, at : at + 1], None, caches=caches))
    torch.testing.assert_close(torch.cat(parts, 1), full, atol=1e-5, rtol=1e-5)


def test_caches_are_filled_alike_where_nobody_reads_the_states(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Transformer(SMALL, VOCABULARY.size).eval()
    batch = pack(mixed_samples()[:1], VOCABULARY, 8, 0)
    given = (batch.ids, batch.position, None, batch.pictures, batch.patch_at)
    filled = [model.make_caches(1, 64) for _ in range(2)]
    whole = model(*given, caches=filled[0])
    monkeypatch.setattr(model.blocks[-1].ffn, "forward", None)  # the last block does nothing else
    nothing = model(*given, caches=filled[1], at=torch.zeros(0, dtype=torch.long))
    assert (whole.shape[1], nothing.shape) == (batch.ids.shape[1], (0, SMALL.hidden_size))
    for one, other in zip(*filled, strict=True):
        assert one.length == other.length == batch.ids.shape[1]
        assert torch.equal(one.keys[:, :, : one.length], other.keys[:, :, : one.length])
        assert torch.equal(one.values[:, :, : one.length], other.values[:, :, : one.length])


def test_hidden_states_at_some_places_are_those_of_all() -> None:
    torch.manual_seed(0)
    model = Transformer(SMALL, VOCABULARY.size).eval()
    batch = pack(mixed_samples(), VOCABULARY, 8, 256)
    arguments = (batch.ids, batch.position, build_mask(batch.sample, batch.branch, batch.causal))
    everywhere = model(*arguments, batch.pictures, batch.patch_at).flatten(0, 1)[batch.label_at]
    torch.testing.assert_close(model(*arguments, batch.pictures, batch.patch_at, at=batch.label_at), everywhere)


@pytest.mark.parametrize("stem", ["convolutional", "linear"])
def test_pictures_of_any_size_are_read(stem: str) -> None:
    torch.manual_seed(0)
    model = Transformer(SMALL.override({"stem": stem}), VOCABULARY.size)
    wide, tall = torch.randint(0, 256, (2, 16, 32, 3)), torch.randint(0, 256, (1, 40, 8, 3))
    samples = [
        Sample(str(i), (Picture(pixels.to(torch.uint8).numpy()),), (Branch("captioning", (), Text((9,))),))
        for i, pixels in enumerate([*wide, *tall])
    ]
    batch = pack(samples, VOCABULARY, 8, 64)
    assert [tuple(group.shape) for group in batch.pictures] == [(2, 16, 32, 3), (1, 40, 8, 3)]
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at).sum().backward()
    assert all(p.grad is not None for p in model.patch_embedding.parameters())


def test_a_backbone_reads_pictures_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    vqgan = VQGAN(VQGANConfig(channels=(8, 8, 16)))
    model = Transformer(SMALL.override({"stem": "backbone", "backbone_channels": 16}), 600, vqgan.backbone())
    batch = pack(mixed_samples(), VOCABULARY, 8, 256)
    mask = build_mask(batch.sample, batch.branch, batch.causal)
    model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at).sum().backward()
    stem = model.patch_embedding.stem
    assert isinstance(stem, BackboneStem)
    assert stem.project.weight.grad is not None
    for kept, original in zip(stem.backbone.parameters(), vqgan.encoder[:-1].parameters(), strict=True):
        assert kept.grad is None
        assert torch.equal(kept, original)


def test_codes_and_text_share_one_vocabulary() -> None:
    batch = pack(
        [Sample("a", (), (Branch("text_to_image", (Text((7,)),), Codes(torch.tensor([[0, 9]]).numpy())),))],
        VOCABULARY, 8, 0,
    )  # fmt: skip
    assert batch.labels.tolist() == [VOCABULARY.text_size, VOCABULARY.text_size + 9]


def test_a_size_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="hidden_size 100 is not a multiple of num_heads 3"):
        ModelConfig(hidden_size=100, num_heads=3)
