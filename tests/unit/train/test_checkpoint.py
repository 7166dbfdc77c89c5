"""Checkpoints of one process: what is in them, written beside the training, whole or not there, verified, kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

from m6.config import UserError
from m6.model.weights import checkpoints, load_weights, sha256
from m6.run import read_metrics
from m6.train import checkpoint_files
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.loop import Task, train
from m6.train.optimizer import Muon, Optimizers, first_state
from tests.unit.checkpoints import save_weights

SHARD = "shard-00001-model-00001-of-00001.safetensors"
MATRICES = ("linear.weight",)


class Small(nn.Module):
    """A linear layer for Muon, a norm, and a convolution that lies otherwise in memory."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(4, width)
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv2d(3, 8, 3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def make_model(width: int = 6) -> Small:
    torch.manual_seed(0)
    return Small(width)


def optimizers_of(model: nn.Module, matrices: tuple[str, ...] = MATRICES) -> Optimizers:
    return Optimizers(model, OptimizerConfig(), 10, matrices)


def update(model: Small, optimizers: Optimizers, step: int) -> None:
    """One update of all but the convolution, which gets no gradient."""
    torch.manual_seed(step)
    model.norm(model.linear(torch.randn(5, 4))).square().sum().backward()
    optimizers.step(step)


def saved_of(folder: Path, model: nn.Module, optimizers: Optimizers | None = None, **loop: Any) -> Checkpoints:
    config = LoopConfig(checkpoint_every=1).override(loop)
    return Checkpoints(folder, model, optimizers or optimizers_of(model), config, {"config": {"a": 1}})


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is written to a disk before this is set."""
    event, sound = threading.Event(), HuggingFaceStorageWriter.write_data

    def wait_and_write(self: Any, *given: Any) -> Any:
        assert event.wait(60)
        return sound(self, *given)

    monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", wait_and_write)
    yield event
    event.set()


def test_files_are_plain_safetensors_by_the_names_of_parameters(tmp_path: Path) -> None:
    model = make_model()
    optimizers = optimizers_of(model)
    update(model, optimizers, 0)
    with saved_of(tmp_path, model, optimizers) as saved:
        saved.save(1)
    folder = tmp_path / "step-00000001"
    weights, states = load_file(folder / "model" / SHARD), load_file(folder / "optimizer" / SHARD)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    (adamw, _), (muon, _) = optimizers.parts
    assert torch.equal(states["momentum.linear.weight"], muon.state[model.linear.weight]["momentum"])
    for key in ("step", "exp_avg", "exp_avg_sq"):
        assert torch.equal(states[f"{key}.norm.bias"], adamw.state[model.norm.bias][key])
    with_adamw = [name for name in model.state_dict() if name not in MATRICES]
    expected = {f"{key}.{name}" for name in with_adamw for key in ("step", "exp_avg", "exp_avg_sq")}
    assert states.keys() == expected | {"momentum.linear.weight"}
    state = json.loads((folder / "state.json").read_text())
    assert (state["step"], state["ranks"], state["config"]) == (1, 1, {"a": 1})
    assert state["sha256"] == {f"{part}/{SHARD}": sha256(folder / part / SHARD) for part in ("model", "optimizer")}
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["step-00000001", "model", "optimizer", "state.json", SHARD, SHARD]
    )


def test_a_large_part_is_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "FILE_BYTES", 100)
    model = make_model()
    save_weights(tmp_path, model)
    assert len(list((tmp_path / "step-00000001" / "model").iterdir())) > 2
    again = make_model()
    again.load_state_dict({name: tensor + 1 for name, tensor in again.state_dict().items()})
    load_weights(tmp_path / "step-00000001", again)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_the_first_state_is_the_one_that_pytorch_makes() -> None:
    """Against AdamW of PyTorch after an update with a gradient of 0: the same, but for the count."""
    parameter = nn.Parameter(torch.ones(3, 2))
    for fused in (True, False):
        optimizer = torch.optim.AdamW([parameter], fused=fused)
        mine = first_state(optimizer, parameter)
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        theirs = optimizer.state[parameter]
        assert mine.keys() == theirs.keys()
        for key, value in theirs.items():
            assert (mine[key].dtype, mine[key].shape) == (value.dtype, value.shape)
            assert torch.equal(mine[key], value - 1 if key == "step" else value)
    muon = Muon([parameter], 0.1, 0.9, 0.0)
    parameter.grad = torch.zeros_like(parameter)
    mine = first_state(muon, parameter)
    muon.step()
    assert mine.keys() == muon.state[parameter].keys()
    assert torch.equal(mine["momentum"], muon.state[parameter]["momentum"])


def test_what_had_no_gradient_yet_goes_on_as_if_unbroken(tmp_path: Path) -> None:
    whole = make_model()
    optimizers = optimizers_of(whole)
    update(whole, optimizers, 0)
    with saved_of(tmp_path, whole, optimizers) as saved:
        saved.save(1)
    again = make_model()
    others = optimizers_of(again)
    assert saved_of(tmp_path, again, others).resume() == 1
    for model, each in ((whole, optimizers), (again, others)):
        model.convolution(torch.ones(1, 3, 4, 4)).sum().backward()
        update(model, each, 1)
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, held: threading.Event) -> None:
    model = make_model()
    optimizers = optimizers_of(model)
    saved = saved_of(tmp_path, model, optimizers)
    update(model, optimizers, 0)
    expected = snapshot(model)
    saved.save(1)
    update(model, optimizers, 1)  # and nothing has been written
    assert checkpoints(tmp_path) == []
    assert not torch.equal(model.state_dict()["linear.weight"], expected["linear.weight"])
    held.set()
    later = snapshot(model)
    saved.save(2)
    assert (tmp_path / "step-00000001" / "state.json").exists()  # the second waited for it
    saved.wait()
    for step, weights in ((1, expected), (2, later)):
        again = make_model()
        load_weights(tmp_path / f"step-{step:08d}", again)
        assert all(torch.equal(tensor, weights[name]) for name, tensor in again.state_dict().items())


def test_what_cannot_be_written_is_told_at_the_next_save_and_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    saved = saved_of(tmp_path, model)
    saved.save(1)
    saved.wait()
    sound = HuggingFaceStorageWriter.write_data

    def half(self: Any, *given: Any) -> Any:
        if self.path.name == "optimizer":
            raise OSError(28, "No space left on device")
        return sound(self, *given)

    with monkeypatch.context() as harm:
        harm.setattr(HuggingFaceStorageWriter, "write_data", half)
        saved.save(2)
        with pytest.raises(UserError, match=r"a checkpoint cannot be written \(No space left on device\); free some"):
            saved.save(3)
        saved.save(3)
        with pytest.raises(UserError, match=r"No space left"), saved:
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    with saved:
        saved.save(4)
    assert saved_of(tmp_path, make_model()).resume() == 4


def test_what_goes_wrong_otherwise_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", broken)
    saved = saved_of(tmp_path, make_model())
    saved.save(1)
    with pytest.raises(RuntimeError, match="rank 0 could not write its part"):
        saved.wait()
    assert list(tmp_path.iterdir()) == []


DIES = """
import os, sys
from pathlib import Path
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from m6.train import checkpoint_files
from tests.unit.train.test_checkpoint import make_model, saved_of

folder, place = Path(sys.argv[1]), sys.argv[2]
saved = saved_of(folder, make_model())
saved.save(1)
saved.wait()
sound = HuggingFaceStorageWriter.write_data

def write_and_die(self, *given):
    written = sound(self, *given)
    return os._exit(9) if self.path.name == "optimizer" else written

if place == "writing":
    HuggingFaceStorageWriter.write_data = write_and_die
else:
    assert hasattr(checkpoint_files, place)
    setattr(checkpoint_files, place, lambda *given: os._exit(9))
saved.save(2)
saved.wait()
"""


@pytest.mark.parametrize("place", ["writing", "sha256", "write_atomic", "sync_folder"])
def test_a_training_that_dies_while_it_writes_leaves_the_one_before(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", DIES, str(folder), place], cwd=Path(__file__).parents[3])
    assert done.returncode == 9
    assert {path.name for path in folder.iterdir()} == {"step-00000001", ".step-00000002.tmp"}
    saved = saved_of(folder, make_model())
    assert saved.resume() == 1
    with saved:
        saved.save(2)
    assert {path.name for path in folder.iterdir()} == {"step-00000001", "step-00000002"}
    assert saved_of(folder, make_model()).resume() == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, alter, Path.unlink])
@pytest.mark.parametrize("file", [f"model/{SHARD}", f"optimizer/{SHARD}", "state.json"])
def test_a_damaged_checkpoint_is_refused_and_left_as_it_is(tmp_path: Path, file: str, harm: Any) -> None:
    save_weights(tmp_path, make_model())
    path = tmp_path / "step-00000001" / file
    harm(path)
    left = path.read_bytes() if path.exists() else b""
    with pytest.raises(UserError, match=rf"{file}: (missing|unread).*; remove .*step-00000001 to go on from the one b"):
        saved_of(tmp_path, make_model()).resume()
    assert (path.read_bytes() if path.exists() else b"") == left
    if file.startswith("optimizer"):
        load_weights(tmp_path / "step-00000001", make_model())  # which needs it not
    else:
        with pytest.raises(UserError, match=r"remove .*step-00000001"):
            load_weights(tmp_path / "step-00000001", make_model())


def test_a_checkpoint_without_its_folder_of_weights_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path, make_model())
    shutil.rmtree(tmp_path / "step-00000001" / "model")
    with pytest.raises(UserError, match=r"model/shard.*: missing, cut short"):
        load_weights(tmp_path / "step-00000001", make_model())


def rewrite(folder: Path, part: str, without: str, beside: dict[str, Tensor]) -> None:
    """Another content of a file, with its right hash."""
    path = folder / part / SHARD
    kept = {name: tensor for name, tensor in load_file(path).items() if name != without}
    save_file(kept | beside, path)
    state = json.loads((folder / "state.json").read_text())
    state["sha256"][f"{part}/{SHARD}"] = sha256(path)
    (folder / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("part", "without", "beside", "line"),
    [
        ("model", "norm.bias", {}, r"model: its tensors .* \(norm\.bias is missing\)"),
        ("model", "", {"x": torch.ones(1)}, r"\(x is not of this model\)"),
        ("model", "", {"norm.bias": torch.ones(1)}, r"\(norm\.bias is \[1\], not \[6\]\)"),
        ("model", "norm.bias", {"x": torch.ones(1)}, r"\(norm\.bias is missing, and 1 more\)"),
        ("optimizer", "momentum.linear.weight", {}, r"\(momentum\.linear\.weight is missing\)"),
        ("optimizer", "", {"exp_avg.linear.weight": torch.ones(6, 4)}, r"\(exp_avg\.linear\.weight is not of this"),
    ],
)
def test_names_and_shapes_are_strict(
    tmp_path: Path, part: str, without: str, beside: dict[str, Tensor], line: str
) -> None:
    model = make_model()
    with saved_of(tmp_path, model) as saved:
        saved.save(1)
    rewrite(tmp_path / "step-00000001", part, without, beside)
    with pytest.raises(UserError, match=line):
        saved_of(tmp_path, make_model()).resume()


def test_a_checkpoint_of_another_size_is_one_line(tmp_path: Path) -> None:
    save_weights(tmp_path, make_model())
    with pytest.raises(
        UserError, match=r"do not fit the model of this config \(linear\.weight is \[6, 4\], not \[7, 4\], and"
    ):
        load_weights(tmp_path / "step-00000001", make_model(7))


def test_the_newest_stay_and_every_nth_for_good(tmp_path: Path) -> None:
    with saved_of(tmp_path, make_model(), keep_checkpoints=2, keep_every=3) as saved:
        for step in range(1, 9):
            saved.save(step)
    assert [int(path.name[5:]) for path in checkpoints(tmp_path)] == [3, 6, 7, 8]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_is_kept_has_to_be_written() -> None:
    with pytest.raises(UserError, match="keep_every 150 is not a multiple of checkpoint_every 100"):
        LoopConfig(keep_every=150)
    with pytest.raises(UserError, match="keep_every 100 is not a multiple of checkpoint_every 0"):
        LoopConfig(keep_every=100, checkpoint_every=0)
    with pytest.raises(UserError, match="keep_checkpoints: 0 should be greater than or equal to 1"):
        LoopConfig(keep_checkpoints=0)
    assert LoopConfig(keep_every=300).keep_every == 300


def task() -> Task[Tensor]:
    model = nn.Linear(4, 1)
    return Task(
        model=model,
        loss=lambda batch, total: (model(batch).square().mean(), {}),
        batches=lambda start, stop, workers: iter(torch.ones(2, 4) for _ in range(start, stop)),
        counts=lambda batch: {"tokens": 2.0},
        weight=lambda batch: torch.tensor(1.0),
        describe=lambda batch: "",
    )


def test_rows_tell_how_long_training_stood_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the row after the checkpoint; by a clock of our own, which goes a second further with each look."""
    clock = iter(range(1000))
    monkeypatch.setattr("m6.train.checkpoint.time.perf_counter", lambda: float(next(clock)))
    train(task(), LoopConfig(num_steps=7, checkpoint_every=2, log_every=1), tmp_path, "test", {})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "checkpoint_seconds" in row] == [3, 5, 7]
    assert {row["checkpoint_seconds"] > 0 for row in rows if "checkpoint_seconds" in row} == {True}


def test_the_end_of_a_training_waits_for_its_checkpoint(tmp_path: Path) -> None:
    train(task(), LoopConfig(num_steps=1, checkpoint_every=1), tmp_path, "test", {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000001"]


def test_a_training_that_fails_leaves_its_checkpoint_time(tmp_path: Path, held: threading.Event) -> None:
    saved = saved_of(tmp_path, make_model())
    saved.save(1)
    threading.Timer(0.2, held.set).start()
    with pytest.raises(KeyboardInterrupt), saved:
        raise KeyboardInterrupt
    assert saved_of(tmp_path, make_model()).resume() == 1
