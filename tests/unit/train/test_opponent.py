"""Two players in the loop, in small: each against its own plain optimizer; neither moves where one has no number; and
the running mean of the weights by hand."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from m6.model.weights import TensorFiles, newest
from m6.run import read_metrics
from m6.train.average import Average
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.loop import Opponent, Task, train
from m6.train.window import Figures

RATES = OptimizerConfig(learning_rate=0.1, muon_learning_rate=0.0, schedule=((0.0, 1.0), (1.0, 1.0)), clip_norm=100.0)
OTHERS = RATES.override({"learning_rate": 0.03})
LOOP = LoopConfig(num_steps=4, checkpoint_every=2, log_every=1, optimizer=RATES, max_skipped=2)


def players() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(3, 2), nn.Linear(2, 1)


def make(first: nn.Linear, second: nn.Linear, bad: int = -1) -> Task[int]:
    """The first wants the second to say much of what it makes, the second to say little; the second plays from step 1
    on, and has no number in step `bad`."""
    made: list[Tensor] = []

    def x(step: int) -> Tensor:
        return torch.randn(5, 3, generator=torch.Generator().manual_seed(step))

    def loss(step: int, _: Tensor | None) -> tuple[Tensor, Figures]:
        out = first(x(step))
        made[:] = [out.detach()]
        (gradient,) = torch.autograd.grad(-second(picture := out.detach().requires_grad_()).mean(), picture)
        return (out * gradient).sum(), {}

    def answer(step: int, _: Tensor | None) -> tuple[Tensor, Figures] | None:
        if step == 0:
            return None
        own = second(made[0]).square().mean() * (torch.nan if step == bad else 1.0)
        return own, {"loss/second": (own.detach(), 1.0)}

    def batches(start: int, stop: int, _: int) -> Iterator[int]:
        return iter(range(start, stop))

    return Task(
        model=first,
        loss=loss,
        batches=batches,
        counts=lambda batch: {"tokens": 1},
        weight=lambda batch: torch.ones(()),
        describe=lambda batch: [str(batch)],
        opponent=Opponent(second, answer, OTHERS),
    )


def test_both_move_as_in_plain_pytorch_and_the_second_joins_late(tmp_path: Path) -> None:
    train(make(*(found := players())), LOOP, tmp_path, "test", {})
    first, second = players()
    one, other = (
        torch.optim.AdamW(model.parameters(), lr=rate, betas=RATES.betas, weight_decay=0.0)
        for model, rate in ((first, 0.1), (second, 0.03))
    )
    for step in range(4):
        out = first(torch.randn(5, 3, generator=torch.Generator().manual_seed(step)))
        for optimizer in (one, other):
            optimizer.zero_grad()
        (-second(out).mean()).backward()
        other.zero_grad()  # what the first has left there
        if step:
            second(out.detach()).square().mean().backward()
        one.step()
        if step:
            other.step()
    for model, expected in zip(found, (first, second), strict=True):
        for weight, wanted in zip(model.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(weight, wanted)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert ["loss/second" in row for row in rows] == [False, True, True, True]


def test_where_one_has_no_number_neither_moves(tmp_path: Path) -> None:
    two = LOOP.override({"num_steps": 2, "checkpoint_every": 1, "keep_checkpoints": 3})
    train(make(*players(), bad=1), two, tmp_path, "test", {})
    before, after = (tmp_path / f"step-{step:08d}" for step in (1, 2))
    for part in ("model", "opponent", "optimizer", "opponent_optimizer"):
        expected, found = TensorFiles(before / part).read(), TensorFiles(after / part).read()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), part
    assert [row["skipped_steps"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1]


def test_the_mean_of_the_weights_by_hand(tmp_path: Path) -> None:
    """At first (1 + n) / (10 + n) is kept, until that is more than the decay."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    average, expected = Average(model, 0.15), 2.0
    for done in (1, 2, 3):
        nn.init.constant_(model.weight, 2.0 + done)
        average.update(done)
        keep = min(0.15, (1 + done) / (10 + done))
        expected = keep * expected + (1 - keep) * (2.0 + done)
    torch.testing.assert_close(next(average.model.parameters()).item(), expected, rtol=1e-6, atol=0)
    task = make(*players())
    task.opponent, task.average = None, 0.5
    train(task, LOOP, tmp_path, "test", {})
    kept = TensorFiles(newest(tmp_path, "test") / "model").read()
    last = TensorFiles(newest(tmp_path, "test") / "trained").read()
    assert not torch.equal(kept["weight"], last["weight"])
    assert torch.equal(kept["weight"], task.model.state_dict()["weight"]), "the training leaves it with the mean"
