"""Muon against torch's own, the split of the parameters, and the schedule."""

import pytest
import torch
from torch import nn

from m6.config import UserError
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.train.config import OptimizerConfig
from m6.train.optimizer import Muon, Optimizers, orthogonalize, rate_at
from m6.train.pretrain import muon_matrices


@pytest.mark.parametrize("shape", [(24, 96), (96, 24)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, *shape)))
    assert 0.6 < values.min() < values.max() < 1.3


@pytest.mark.parametrize("shape", [(24, 96), (96, 24)])
def test_muon_is_torch_muon(shape: tuple[int, int]) -> None:
    """torch.optim.Muon iterates in bfloat16, so the two agree to its precision."""
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.02, momentum=0.95, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True),
    )
    for _ in range(4):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    step = (start - theirs).norm()
    assert (ours - theirs).norm() < 0.02 * step


def test_a_stack_of_matrices_moves_like_each_alone() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(3, 8, 16), torch.randn(3, 8, 16)
    stack = nn.Parameter(start.clone())
    alone = [nn.Parameter(matrix.clone()) for matrix in start]
    stack.grad = gradient
    for matrix, part in zip(alone, gradient, strict=True):
        matrix.grad = part
    Muon([stack], 0.02, 0.95, 0.0).step()
    Muon(alone, 0.02, 0.95, 0.0).step()
    torch.testing.assert_close(stack.detach(), torch.stack([matrix.detach() for matrix in alone]))


@pytest.mark.parametrize("at_once", [1, 5, 100])
def test_matrices_move_alike_however_many_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    def moved() -> list[nn.Parameter]:
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(*shape)) for shape in ((8, 16), (7, 8, 16), (8, 16), (16, 8))]
        muon = Muon(parameters, 0.02, 0.95, 0.1)
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            muon.step()
        return parameters

    expected = moved()
    monkeypatch.setattr("m6.train.optimizer.ELEMENTS_AT_ONCE", at_once * 8 * 16)
    for ours, theirs in zip(moved(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_every_parameter_has_one_optimizer() -> None:
    model = Transformer(ModelConfig(num_layers=1, hidden_size=32, num_heads=2, ffn_size=64), 100)
    optimizers = Optimizers(model, OptimizerConfig(), 10, muon_matrices(model))
    held = [id(p) for optimizer, _ in optimizers.parts for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    muon = {id(p) for group in optimizers.parts[1][0].param_groups for p in group["params"]}
    assert id(model.embedding.weight) not in muon


def test_rate_follows_the_schedule() -> None:
    config = OptimizerConfig(schedule=((0.0, 0.0), (0.1, 0.4), (0.3, 0.4), (0.4, 1.0), (0.5, 1.0), (1.0, 0.1)))
    rates = [rate_at(step, 100, config) for step in range(100)]
    assert rates[4] == pytest.approx(0.2)
    assert rates[9:30] == pytest.approx([0.4] * 21)
    assert rates[34] == pytest.approx(0.7)
    assert rates[39:50] == pytest.approx([1.0] * 11)
    assert rates[74] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([[0, 0], [0.5, 1]], "must rise from 0 to 1"),
        ([[0, 0], [0.7, 1], [0.5, 1], [1, 0]], "must rise from 0 to 1"),
        ([[0, 1], [1, -1]], "schedule.1.1: -1 should be greater than or equal to 0"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule: list[list[float]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        OptimizerConfig().override({"schedule": schedule})
