"""Products in 8 bits: near those of float32, within what rounding allows, and the same in the step of a server."""

import warnings

import pytest
import torch
from torch import nn

from m6.generate.engine import Engine
from m6.generate.int8 import Int8Linear, to_int8
from m6.serve.slots import Slots
from m6.serve.step import _Step
from tests.unit.generate.small_engine import small_engine


@torch.inference_mode()
def test_a_product_is_off_by_no_more_than_rounding_and_rows_are_alone() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 20, bias=False)
    linear.weight.data[3] *= 100  # a row of its own size, whose scale has to be its own
    given = torch.randn(7, 48) * 10 ** torch.arange(-3.0, 4.0)[:, None]
    given[2] = 0
    layer = Int8Linear(linear)
    exact, found = linear(given), layer(given)
    weight, size = linear.weight.abs(), given.abs()
    half = 0.5001 / 127  # of the largest of a row
    off = size.sum(1)[:, None] * weight.amax(1) * half + size.amax(1)[:, None] * weight.sum(1) * half
    assert ((exact - found).abs() <= off * (1 + half)).all()
    assert not torch.equal(exact, found)
    assert (found[2] == 0).all()
    assert all(torch.equal(layer(given[:count]), found[:count]) for count in range(1, 7))
    assert torch.equal(layer(given.view(7, 1, 48)), found.view(7, 1, 20))


@pytest.fixture
def engine() -> Engine:
    made = small_engine()
    to_int8(made.model)
    return made


@torch.inference_mode()
def test_all_linear_layers_of_the_blocks_are_replaced_and_logits_stay_near(engine: Engine) -> None:
    kinds = [type(layer) for layer in engine.model.blocks.modules()]
    assert kinds.count(Int8Linear) == 4 * len(engine.model.blocks)
    assert nn.Linear not in kinds
    prefix = (engine.text("这是什么？"),)
    ids, position = torch.tensor([prefix[0].ids]), torch.arange(len(prefix[0].ids))
    given = (ids, torch.stack([position, 0 * position, 0 * position], -1)[None], None)
    own, plain = (each.text_logits(each.hidden(*given)).flatten() for each in (engine, small_engine()))
    assert not torch.equal(own, plain)
    assert torch.corrcoef(torch.stack([own, plain]))[0, 1] > 0.99


@torch.inference_mode()
def test_the_step_of_a_server_is_traced_silently_and_does_the_same(engine: Engine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slots = Slots(engine, 4, 64)
    heads = engine.model.config.num_heads
    places = torch.arange(4 * heads) * slots.capacity
    position, seen = torch.zeros(4, 3, dtype=torch.long), torch.ones(4, 1, dtype=torch.bool)
    cached = [torch.zeros_like(cache.keys) for cache in slots.caches for _ in range(2)]
    plain = [each.clone() for each in cached]
    given = (torch.arange(4) + 5, position, seen, places)
    assert torch.equal(slots._step(*given, cached), _Step(engine.model)(*given, plain))
