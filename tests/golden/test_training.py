"""The loss after twenty seeded steps on real samples: a change of any digit that matters has to be meant."""

from pathlib import Path

import pytest

from m6.run import read_metrics
from m6.train.config import LoopConfig
from m6.train.loop import train
from tests.unit.train.test_loop import make_task, steps  # noqa: F401, a fixture

LOSS_AFTER_TWENTY_STEPS = 5.3749


def test_loss_after_twenty_steps(steps, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    config = LoopConfig(num_steps=20, checkpoint_every=20, log_every=1, precision="float32")
    train(make_task(steps), config, tmp_path, "golden", {})
    loss = read_metrics(tmp_path / "metrics.jsonl")[-1]["loss"]
    assert loss == pytest.approx(LOSS_AFTER_TWENTY_STEPS, rel=2e-3)  # other processors round otherwise
