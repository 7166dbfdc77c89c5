"""The mixture of experts: hand-worked routing, kernels against plain loops, and the layer against a dense one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from m6.config import UserError
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts import MixtureOfExperts, Routing
from m6.model.experts.dispatch import LocalDispatcher, capacity, limit, make_plan, rows_multiple
from m6.model.experts.ffn import grouped_mm, use_grouped
from m6.model.experts.router import Router
from m6.model.transformer import FeedForward


def config(**experts: Any) -> ModelConfig:
    given = ExpertsConfig(**{"num_experts": 4, **experts})
    return ModelConfig(num_layers=2, hidden_size=16, num_heads=2, ffn_size=32, experts=given)


def layer(seed: int = 0, **experts: Any) -> MixtureOfExperts:
    torch.manual_seed(seed)
    made = MixtureOfExperts(config(**experts))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def routing(of: MixtureOfExperts) -> Routing:
    assert of.routing is not None
    return of.routing


def plain(of: MixtureOfExperts, x: Tensor) -> Tensor:
    """The layer token by token, expert by expert, in plain Python, without capacity."""
    c = of.config
    size = c.num_experts // c.prototypes
    out = []
    for token in x:
        total = torch.zeros_like(token)
        for p in range(c.prototypes):
            probability = torch.softmax(of.router.weight[p * size : (p + 1) * size] @ token, 0)
            best = sorted(range(size), key=lambda e: -probability[e].item())[: c.top_k]
            norm = sum(probability[e] for e in best) if c.top_k > 1 else 1.0
            for e in best:
                up, down = of.experts.up[p * size + e], of.experts.down[p * size + e]
                total = total + probability[e] / norm * (down @ F.gelu(up @ token))
        out.append(total)
    return torch.stack(out)


def gradients(of: MixtureOfExperts, x: Tensor, out: Tensor, weight: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((out * weight).sum(), [x, *of.parameters()]))


SHAPES = [{"top_k": 1}, {"top_k": 2}, {"prototypes": 2}, {"prototypes": 2, "top_k": 2}, {"num_experts": 1}]


@pytest.mark.parametrize("kernel", ["grouped", "loop"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_layer_is_the_plain_formula(shape: dict[str, int], kernel: str) -> None:
    made = layer(kernel=kernel, **shape)
    x = torch.randn(9, 16, requires_grad=True)
    weight = torch.randn(9, 16)
    out, expected = made(x), plain(made, x)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients(made, x, out, weight), gradients(made, x, expected, weight), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [{}, {"top_k": 2, "capacity_factor": 0.5}, {"prototypes": 2}], ids=str)
def test_grouped_is_loop_with_empty_experts_padding_and_drops(shape: dict[str, Any]) -> None:
    results = []
    for kernel in ("grouped", "loop"):
        made = layer(num_experts=8, kernel=kernel, **shape)
        with torch.no_grad():
            made.router.weight[2] = -made.router.weight[3]  # one of the two is hardly ever chosen
        torch.manual_seed(1)
        x = (torch.randn(300, 16) + made.router.weight[3].detach() * 3).requires_grad_()
        out = made(x, torch.arange(300) % 7 != 0)
        results.append([out, *gradients(made, x, out, torch.randn(300, 16))])
        assert (routing(made).load == 0).any()
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_grouped_product_is_that_of_float64() -> None:
    torch.manual_seed(0)
    rows, weight = torch.randn(10, 8, requires_grad=True), torch.randn(3, 12, 8, requires_grad=True)
    product = grouped_mm(rows, weight, torch.tensor([4, 4, 9], dtype=torch.int32))[:9]
    owner = [0, 0, 0, 0, 2, 2, 2, 2, 2]
    expected = torch.stack([weight[e].double() @ rows[r].double() for r, e in enumerate(owner)])
    torch.testing.assert_close(product.double(), expected, atol=1e-5, rtol=1e-5)
    given = torch.randn(9, 12)
    ours = torch.autograd.grad((product * given).sum(), weight)[0]
    theirs = torch.autograd.grad((expected * given).sum(), weight)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not ours[1].any()  # an expert without rows


def test_router_by_hand_on_four_tokens() -> None:
    """Two experts; the logits are the tokens themselves."""
    router = Router(ExpertsConfig(num_experts=2), 2)
    router.weight.data = torch.eye(2)
    choice = router(torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [0.0, math.log(4)], [math.log(9), 0.0]]))
    assert choice.expert.tolist() == [[0], [0], [1], [0]]
    torch.testing.assert_close(choice.gate[:, 0], torch.tensor([0.75, 0.5, 0.8, 0.9]))
    assert choice.load.tolist() == [3, 1]
    mean = (0.75 + 0.5 + 0.2 + 0.9) / 4
    assert choice.tally.balance_loss.item() == pytest.approx(2 * (3 / 4 * mean + 1 / 4 * (1 - mean)))
    assert choice.tally.z_loss.item() == pytest.approx(sum(math.log(z) ** 2 for z in (4, 2, 5, 10)) / 4)
    assert choice.entropy[0].item() == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_capacity_by_hand_on_four_tokens() -> None:
    """Two choices a token, two places an expert: first choices come first, then earlier tokens; 4 means dropped."""
    assert capacity(4 * 2, 4, 1.0) == 2
    assert capacity(4 * 2, 4, 1.25) == 3
    choices = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 0]])
    assert limit(choices, 2, 4).tolist() == [[0, 1], [0, 4], [4, 2], [1, 4]]


def test_layer_by_hand_on_four_tokens_with_capacity() -> None:
    """Token i is 10 at place i, where GELU changes nothing, and expert e multiplies by e + 1. Of each token's two gates
    some come to nothing: an expert takes two tokens, first choices before second ones, and what is dropped is not made
    up for by the other gate."""
    made = MixtureOfExperts(
        ModelConfig(
            hidden_size=4, num_heads=1, ffn_size=4, experts=ExpertsConfig(num_experts=4, top_k=2, capacity_factor=1.0)
        )
    )
    probability = torch.tensor([
        [0.6, 0.2, 0.1, 0.1],  # to 0 with 0.6 / 0.8, to 1 with 0.2 / 0.8
        [0.5, 0.3, 0.1, 0.1],  # to 0 with 5/8; 1 is full by then
        [0.5, 0.1, 0.3, 0.1],  # 0 is full; to 2 with 3/8
        [0.3, 0.6, 0.05, 0.05],  # to 1 with 2/3; 0 is full
    ])  # fmt: skip
    made.router.weight.data = probability.log().T / 10
    made.experts.up.data = torch.eye(4).repeat(4, 1, 1)
    made.experts.down.data = torch.eye(4) * torch.arange(1.0, 5.0)[:, None, None]
    out = made(10 * torch.eye(4))
    expected = torch.tensor([0.75 * 1 + 0.25 * 2, 5 / 8 * 1, 3 / 8 * 3, 2 / 3 * 2])
    torch.testing.assert_close(out, torch.diag(10 * expected))
    assert routing(made).expert.tolist() == [[0, 1], [0, 1], [0, 2], [1, 0]]
    assert routing(made).kept.tolist() == [[True, True], [True, False], [False, True], [True, False]]
    assert routing(made).load.tolist() == [4, 3, 1, 0]


def test_plan_by_hand_on_four_tokens() -> None:
    plan = make_plan(torch.tensor([[2], [0], [3], [0]]), num_experts=3, multiple=2)  # 3: nowhere
    assert plan.ends.tolist() == [2, 2, 4]
    assert plan.row.tolist() == [2, 0, 4, 1]
    assert plan.slot.tolist()[:5] == [1, 3, 0, 0, 2]
    assert (rows_multiple(4, 8), rows_multiple(4096, 8), rows_multiple(256, 8)) == (1, 64, 8)


def test_dispatch_and_combination_are_inverse() -> None:
    """With experts that do nothing, a token comes back times the sum of its gates that found a place."""
    dispatcher = LocalDispatcher(4)
    tokens, gate = torch.randn(50, 16), torch.rand(50, 2)
    expert = torch.randint(0, 5, (50, 2))
    rows, ends, plan = dispatcher.dispatch(tokens, expert, partial=True)
    assert ends.dtype == torch.int32
    torch.testing.assert_close(dispatcher.combine(rows, gate, plan), tokens * (gate * (expert < 4)).sum(1)[:, None])


def test_what_is_dropped_passes_by_and_is_counted() -> None:
    made = layer(top_k=2, capacity_factor=0.5)
    x = torch.randn(64, 16)
    out = made(x)
    seen = routing(made)
    taken = torch.bincount(seen.expert[seen.kept], minlength=4)
    assert taken.max() <= 16  # 0.5 * 64 * 2 / 4
    assert int(seen.num_dropped) == 128 - int(taken.sum()) > 0
    assert int(seen.load.sum()) == 128
    passed_by = ~seen.kept.any(1)
    assert passed_by.any()
    assert not out[passed_by].any()
    made.eval()(x)
    assert int(routing(made).num_dropped) == 0  # nothing is dropped outside of training


def test_padding_goes_to_no_expert() -> None:
    made = layer()
    x = torch.randn(2, 5, 16)
    real = torch.tensor([[True] * 5, [True, True, False, False, False]])
    out = made(x, real)
    seen = routing(made)
    assert int(seen.load.sum()) == 7
    assert int(seen.num_dropped) == 0
    assert not out[~real].any()
    torch.testing.assert_close(out[real], made(x[real]))
    torch.testing.assert_close(seen.tally.balance_loss, routing(made).tally.balance_loss)
    torch.testing.assert_close(seen.tally.z_loss, routing(made).tally.z_loss)


def test_one_expert_is_the_dense_layer() -> None:
    made = layer(num_experts=1, capacity_factor=1.0)
    dense = FeedForward(config())
    dense.load_state_dict({"up.weight": made.experts.up[0], "down.weight": made.experts.down[0]})
    x = torch.randn(3, 7, 16)
    x.requires_grad_()
    out, expected, weight = made(x), dense(x), torch.randn(3, 7, 16)
    torch.testing.assert_close(out, expected)
    assert int(routing(made).num_dropped) == 0
    ours = torch.autograd.grad((out * weight).sum(), [x, made.experts.up, made.experts.down])
    theirs = torch.autograd.grad((expected * weight).sum(), [x, *dense.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.view_as(other), other)


@pytest.mark.parametrize("shape", [{}, {"top_k": 2}, {"num_experts": 8, "prototypes": 2}], ids=str)
def test_balance_loss_is_1_at_an_even_load(shape: dict[str, Any]) -> None:
    made = Router(config(**shape).experts, 4)
    size = made.config.num_experts // made.config.prototypes
    made.weight.data = torch.eye(4).repeat(made.config.prototypes, 1)[:, :4]
    assert made(torch.eye(4).repeat(3, 1)).tally.balance_loss.item() == pytest.approx(1.0)
    uneven = torch.zeros(12, 4)
    uneven[:, 0] = 50.0
    assert made(uneven).tally.balance_loss.item() == pytest.approx(size / made.config.top_k)  # all to the first


def test_bias_moves_against_the_load_within_each_prototype() -> None:
    router = Router(ExpertsConfig(num_experts=6, prototypes=2, balance="bias", balance_weight=0.5), 4)
    router.count_load(torch.tensor([5, 0, 1, 2, 2, 2]))  # even shares are 2 and 2
    router.update_bias()
    assert router.bias.tolist() == [-0.5, 0.5, 0.5, 0.0, 0.0, 0.0]
    router.count_load(torch.tensor([0, 4, 2, 0, 0, 0]))
    router.update_bias()
    assert router.bias.tolist() == [0.0, 0.0, 0.5, 0.0, 0.0, 0.0]


def test_bias_evens_a_skewed_load_and_leaves_gates_alone() -> None:
    torch.manual_seed(0)
    made = layer(balance="bias", balance_weight=0.05)
    x = torch.randn(400, 16) + made.router.weight[0].detach()
    made(x)
    before = routing(made).load.max().item() / 100
    for _ in range(200):
        made(x)
        made.update_bias()
    assert before > 2
    assert routing(made).load.max().item() / 100 < 1.2
    probability = F.linear(x, made.router.weight).softmax(-1)
    choice = made.router(x)
    torch.testing.assert_close(choice.gate, probability.gather(1, choice.expert))
    assert made.eval().state_dict()["router.bias"].any()
    made(x)
    assert not made.router.pending.any()  # only training is counted


def test_router_stays_float32_under_autocast() -> None:
    made = layer()
    x = torch.randn(64, 16)
    made(x)
    exact = routing(made)
    with torch.autocast("cpu", torch.bfloat16):
        out = made(x)
        choice = made.router(x)
    assert choice.gate.dtype == torch.float32
    assert torch.equal(routing(made).entropy, exact.entropy)
    assert torch.equal(routing(made).expert, exact.expert)
    torch.testing.assert_close(out, made(x), atol=0.1, rtol=0.05)
    assert not torch.equal(out, made(x))  # the experts did compute in bfloat16


@pytest.mark.parametrize("shape", [{"capacity_factor": 0.7, "top_k": 2}, {"balance": "bias"}], ids=str)
def test_checkpointed_gradients_are_the_same(shape: dict[str, Any]) -> None:
    results = []
    for checkpointed in (False, True):
        made = layer(**shape)
        torch.manual_seed(1)
        x = torch.randn(40, 16, requires_grad=True)
        out = checkpoint(made, x, use_reentrant=False) if checkpointed else made(x)
        assert isinstance(out, Tensor)
        loss = out.square().sum() + routing(made).tally.balance_loss + routing(made).tally.z_loss
        loss.backward()
        made.update_bias()
        results.append([x.grad, *(p.grad for p in made.parameters()), *made.state_dict().values()])
    for ours, theirs in zip(*results, strict=True):
        assert ours is not None
        assert torch.equal(ours, theirs)


def test_compiled_is_as_written() -> None:
    """In float32 too, which PyTorch's own grouped product cannot be compiled in, and without a break in the graph."""
    made = layer(balance="bias", capacity_factor=1.0)
    torch.manual_seed(1)
    x = torch.randn(40, 16)
    weight = torch.randn(40, 16)
    results = []
    for forward in (made, torch.compile(made, backend="aot_eager", fullgraph=True)):
        made.router.pending.zero_()
        mine = x.clone().requires_grad_()
        out = forward(mine)
        loss = (out * weight).sum() + routing(made).tally.balance_loss + routing(made).tally.z_loss
        grads = torch.autograd.grad(loss, [mine, *made.parameters()])
        results.append([out, *grads, routing(made).load, made.router.pending.clone()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_kernel_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use_grouped("auto", torch.zeros(1, 16), 32)
    assert not use_grouped("auto", torch.zeros(1, 16), 30)
    monkeypatch.setattr("m6.model.experts.ffn.GROUPED_MM", None)
    assert not use_grouped("auto", torch.zeros(1, 16), 32)
    with pytest.raises(UserError, match=r"experts.kernel 'grouped' does not work for float32 on cpu.*'loop'"):
        layer(kernel="grouped")(torch.zeros(2, 16))


def test_experts_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="num_experts 6 is not a multiple of prototypes 4"):
        ExpertsConfig(num_experts=6, prototypes=4)
    with pytest.raises(UserError, match="top_k 3 exceeds the 2 experts of a prototype"):
        ExpertsConfig(num_experts=4, prototypes=2, top_k=3)
