"""The traced step: what the model does, to the bit, for any number of rows and any span."""

from __future__ import annotations

import pytest
import torch

from m6.generate.engine import Engine
from m6.model.transformer import Transformer
from m6.serve.slots import Slots
from m6.serve.step import _Step
from tests.unit.generate.small_engine import small_engine


def engine_with(experts: int) -> Engine:
    engine = small_engine()
    if experts > 1:
        size = engine.model.config.override({"experts.num_experts": experts})
        engine.model = Transformer(size, engine.vocabulary.size).eval()
    return engine


@pytest.mark.parametrize("experts", [1, 4])
@pytest.mark.parametrize(("rows", "span"), [(4, 64), (8, 128), (12, 64)])
@torch.inference_mode()
def test_a_step_is_that_of_the_model(experts: int, rows: int, span: int) -> None:
    engine = engine_with(experts)
    slots = Slots(engine, 12, 128)
    heads = engine.model.config.num_heads
    lengths = torch.arange(rows) * 5 + 1
    places = torch.arange(rows * heads) * slots.capacity + lengths.repeat_interleave(heads)
    tokens, position = torch.arange(rows) + 5, torch.stack([lengths, lengths % 3, lengths % 2], -1)
    seen = torch.arange(span) <= lengths[:, None]
    cached = [torch.randn(cache.keys[:rows].shape) for cache in slots.caches for _ in range(2)]
    plain = [each.clone() for each in cached]
    found = slots._step(tokens, position, seen, places, cached)
    assert torch.equal(found, _Step(engine.model)(tokens, position, seen, places, plain))
    assert all(torch.equal(own, other) for own, other in zip(cached, plain, strict=True))
