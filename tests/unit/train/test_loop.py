"""The loop: resumed equals unbroken bit for bit, a first batch can be learnt by heart, a bad loss stops before harm."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from m6.config import UserError
from m6.data.config import DataConfig, Entry
from m6.data.loader import Steps, batches
from m6.data.mixture import Mixture
from m6.data.packing import Batch
from m6.data.unusable import Skipped
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.model.weights import checkpoints
from m6.run import read_metrics
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.guard import DivergedError
from m6.train.hardware import matrix_dtype
from m6.train.loop import NonFiniteLossError, Task, train
from m6.train.pretrain import pretraining
from m6.train.window import Figures
from tests.unit.small_corpus import tokenizer, write_corpus

DATA = DataConfig(
    mixture=(
        Entry(source="emoji", samples=2, objectives={"captioning": 1.0, "matching": 0.5, "image_denoising": 0.5}),
        Entry(source="scenes", samples=2, objectives={"captioning": 1.0, "visual_question_answering": 1.0}),
        Entry(source="poems", samples=1, objectives={"poem": 1.0}),
    ),
    image_input="pixels",
)
SIZE = ModelConfig(num_layers=2, hidden_size=64, num_heads=2, ffn_size=128)
LOOP = LoopConfig(num_steps=6, checkpoint_every=2, log_every=1, keep_checkpoints=2)


class Interrupted(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    folder = tmp_path_factory.mktemp("corpus")
    text = tokenizer(write_corpus(folder))
    return Steps(Mixture(folder, None, text, DATA, seed=0), Vocabulary(text.size, 100), 8)


def make_task(steps: Steps, *, stop_at: int | None = None) -> Task[Batch]:
    torch.manual_seed(0)
    model = Transformer(SIZE, steps.vocabulary.size)

    def interrupted(start: int, stop: int, workers: int) -> Iterator[Batch]:
        for number, batch in enumerate(batches(steps, start, stop, workers), start=start):
            if number == stop_at:
                raise Interrupted
            yield batch

    return replace(pretraining(model, steps), batches=interrupted)


def weights(task: Task[Batch]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in task.model.state_dict().items()}


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_resumed_equals_unbroken_also_from_two_workers_to_none(steps: Steps, tmp_path: Path, killed_at: int) -> None:
    whole = make_task(steps)
    train(whole, LOOP, tmp_path / "whole", "test", {})
    with pytest.raises(Interrupted):
        train(make_task(steps, stop_at=killed_at), LOOP.override({"num_workers": 2}), tmp_path / "cut", "test", {})
    again = make_task(steps)
    train(again, LOOP, tmp_path / "cut", "test", {})
    expected = weights(whole)
    for name, tensor in weights(again).items():
        assert torch.equal(tensor, expected[name]), name
    losses = [[row["loss"] for row in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("whole", "cut")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == LOOP.num_steps


def test_bfloat16_learns_as_float32_does_and_keeps_float32_weights(steps: Steps, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        task = make_task(steps)
        train(task, LoopConfig(num_steps=20, log_every=1, precision=precision), tmp_path / precision, "test", {})
        assert {weight.dtype for weight in task.model.parameters()} == {torch.float32}
        losses[precision] = torch.tensor([row["loss"] for row in read_metrics(tmp_path / precision / "metrics.jsonl")])
    assert losses["float32"][-1] < losses["float32"][0] - 1
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], rtol=0.02, atol=0)
    assert not losses["bfloat16"].equal(losses["float32"])  # it did compute otherwise


def test_precision_is_chosen_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_units, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has_units=has_units: has_units)
        assert matrix_dtype("auto") == dtype
    assert matrix_dtype("float32") == torch.float32
    assert matrix_dtype("bfloat16") == torch.bfloat16


def test_old_checkpoints_go_and_the_newest_stay(steps: Steps, tmp_path: Path) -> None:
    train(make_task(steps), LOOP, tmp_path, "test", {"config": {"a": 1}})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000004", "step-00000006"]
    assert json.loads((tmp_path / "step-00000006" / "state.json").read_text())["config"] == {"a": 1}


def test_a_training_that_is_only_measured_writes_no_checkpoint(steps: Steps, tmp_path: Path) -> None:
    train(make_task(steps), LOOP.model_copy(update={"checkpoint_every": 0}), tmp_path, "test", {})
    assert checkpoints(tmp_path) == []
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 6


def test_a_first_batch_of_eight_samples_is_learnt_by_heart(steps: Steps, tmp_path: Path) -> None:
    """Eight samples, a hundred updates: the loss falls below 0.05."""
    first = [sample for step in range(2) for sample in steps.mixture.part(step)[0]][:8]
    from m6.data.packing import pack

    batch = pack(first, steps.vocabulary, 8, 256)
    task = make_task(steps)
    task.batches = lambda start, stop, workers: iter([batch] * (stop - start))
    loop = LoopConfig(num_steps=150, checkpoint_every=150, optimizer=OptimizerConfig(learning_rate=1e-2))
    train(task, loop, tmp_path, "test", {})
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["loss"] < 0.05


def test_metrics_tell_the_loss_of_every_objective(steps: Steps, tmp_path: Path) -> None:
    train(make_task(steps), LOOP, tmp_path, "test", {})
    row = read_metrics(tmp_path / "metrics.jsonl")[-1]
    objectives = {name for entry in DATA.mixture for name in entry.objectives}
    assert {name.removeprefix("loss/") for name in row if name.startswith("loss/")} == objectives
    assert row["tokens"] == steps[5].num_tokens
    for name in ("padding_share", "stall_share", "mfu", "mfu_square"):
        assert 0 <= row[name] < 1, name
    assert row["tflops_per_second"] < row["tflops_per_second_square"]
    assert row["tokens_per_second/text"] + row["tokens_per_second/image_patches"] == pytest.approx(
        row["tokens_per_second"]
    )
    assert row["gradient_norm"] > 0
    assert "mfu_datasheet" not in row  # no data sheet of a CPU


def test_rows_tell_the_loss_on_held_out_batches_and_learn_nothing_from_them(steps: Steps, tmp_path: Path) -> None:
    without, beside = make_task(steps), make_task(steps)
    beside.heldout = [steps[100], steps[101]]
    loop = LOOP.override({"precision": "float32"})
    train(without, loop, tmp_path / "without", "test", {})
    train(beside, loop.override({"heldout_every": 4}), tmp_path / "beside", "test", {})
    expected = weights(without)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(beside).items())
    rows = read_metrics(tmp_path / "beside" / "metrics.jsonl")
    assert [row["step"] for row in rows if "heldout/loss" in row] == [4, 6]  # and the last
    with torch.no_grad():
        losses = [beside.loss(batch, None) for batch in beside.heldout]
    assert rows[-1]["heldout/loss"] == pytest.approx(sum(float(loss) for loss, _ in losses) / 2)
    total, count = (sum(float(figures["loss/poem"][place]) for _, figures in losses) for place in (0, 1))
    assert rows[-1]["heldout/loss/poem"] == pytest.approx(total / count)


def test_a_training_with_nothing_held_out_says_so_at_the_start(steps: Steps, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^test\.loop\.heldout_every: nothing is held out"):
        train(make_task(steps), LOOP.override({"heldout_every": 2}), tmp_path / "run", "test", {})
    assert not (tmp_path / "run").exists()


def test_held_out_rows_have_to_be_rows() -> None:
    with pytest.raises(UserError, match="heldout_every 5 is not a multiple of log_every 10"):
        LoopConfig(heldout_every=5)


def test_a_loss_that_is_no_number_stops_before_the_update_and_names_the_samples(steps: Steps, tmp_path: Path) -> None:
    task = make_task(steps)
    sound = task.loss
    count = iter(range(100))

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        value, figures = sound(batch, total)
        return (value * float("nan") if next(count) == 3 else value), figures

    task.loss = loss
    with pytest.raises(NonFiniteLossError, match=r"step 3: loss nan.*nothing was updated.*emoji/"):
        train(task, LOOP.override({"max_skipped": 0}), tmp_path, "test", {})
    assert all(torch.isfinite(tensor).all() for tensor in task.model.state_dict().values())
    assert checkpoints(tmp_path)[-1].name == "step-00000002"


def test_the_stall_share_is_the_loaders_share_of_the_time(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of our own: three seconds for each batch, one for each loss."""
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    def slow(start: int, stop: int, workers: int) -> Iterator[Batch]:
        for step in range(start, stop):
            passes(3.0)
            yield steps[step]

    task = make_task(steps)
    sound = task.loss

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        passes(1.0)
        return sound(batch, total)

    task.batches, task.loss = slow, loss
    monkeypatch.setattr("m6.train.window.time.perf_counter", lambda: now)
    monkeypatch.setattr("m6.train.window.measured_peak", lambda device, dtype: 1e12)
    train(task, LOOP.override({"num_steps": 4, "log_every": 2}), tmp_path, "test", {})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["stall_share"], row["seconds"]) for row in rows] == [(0.75, 8.0)] * 2


def test_a_training_that_diverges_stops_and_says_where(steps: Steps, tmp_path: Path) -> None:
    """With rates at which nothing can be learnt; the row at which it stops is written too."""
    rates = OptimizerConfig(learning_rate=1.0, muon_learning_rate=5.0, schedule=((0.0, 1.0), (1.0, 1.0)))
    config = LOOP.override({"num_steps": 40, "largest_rise": 1.0, "checkpoint_every": 0}).model_copy(
        update={"optimizer": rates}
    )
    with pytest.raises(DivergedError, match="test: diverged at step") as raised:
        train(make_task(steps), config, tmp_path / "run", "test", {})
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert f"step {rows[-1]['step']}: " in str(raised.value)
    assert "--test.loop.optimizer.learning_rate" in str(raised.value)


def test_what_could_not_be_used_is_said_at_the_end(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {1: [Skipped("emoji/1", "of no format")], 3: [Skipped("emoji/7", "cut short"), Skipped("emoji/9", "gone")]}
    task, number = make_task(steps), iter(range(6))
    train(replace(task, skipped=lambda batch: bad.get(next(number), [])), LOOP, tmp_path / "run", "test", {})
    line = f"test: not used: emoji/1: of no format, and 2 more; all stand in {tmp_path / 'run' / 'skipped.jsonl'}"
    assert line in capsys.readouterr().err.splitlines()
