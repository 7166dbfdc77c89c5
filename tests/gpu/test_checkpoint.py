"""Checkpoints of weights on a GPU: what was there when it was saved is written, and loaded where it was. Skipped
without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m6.model.weights import load_weights
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def make_model() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(2048, 2048).cuda()


def make_optimizers(model: torch.nn.Module) -> Optimizers:
    return Optimizers(model, OptimizerConfig(), 10, ("weight",))


def update(model: torch.nn.Linear, optimizers: Optimizers, step: int) -> None:
    model(torch.ones(2, 2048, device="cuda")).square().sum().backward()
    optimizers.step(step)


def test_a_checkpoint_holds_what_was_on_the_device_when_it_was_saved(tmp_path: Path) -> None:
    model = make_model()
    optimizers = make_optimizers(model)
    with Checkpoints(tmp_path, model, optimizers, LoopConfig(), {}) as saved:
        for step in (1, 2):  # the second time into the same memory
            update(model, optimizers, step)
            expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            states = {name: part.local.clone() for name, part in optimizers.parts_of_states().items()}
            saved.save(step)
        update(model, optimizers, 3)
    again = make_model()
    others = make_optimizers(again)
    assert Checkpoints(tmp_path, again, others, LoopConfig(), {}).resume() == 2
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())
    assert all(torch.equal(part.local, states[name]) for name, part in others.parts_of_states().items())
    assert all(part.local.device == states[name].device for name, part in others.parts_of_states().items())
    on_the_cpu = torch.nn.Linear(2048, 2048)
    load_weights(tmp_path / "step-00000002", on_the_cpu)
    assert torch.equal(on_the_cpu.weight, expected["weight"].cpu())
