"""`m6 export --form weights`: the same weights in one folder, in one file or several, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from m6.cli import main
from m6.config import UserError
from m6.model.weights import checkpoints, load_weights
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16).bfloat16(), nn.BatchNorm1d(4))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that is a run as far as an export looks; update 2 has all weights one higher."""
    folder = tmp_path / "run"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text('{"seed": 3}')
    (folder / "tokenizer" / "tokenizer.json").write_text('{"model": {}}')
    model = make_model()
    optimizers = Optimizers(model, OptimizerConfig(), 1)
    with Checkpoints(folder / "pretrain", model, optimizers, LoopConfig(), {}) as saved:
        saved.save(1)
        model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()})
        saved.save(2)
    return folder


def test_one_file_with_what_is_beside_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), "--out", str(out), "--form", "weights"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: 9 tensors of update 2, 0.0 MiB in 1 file\n"
    steps = LoopConfig().num_steps
    assert said.err == f"m6: {run}: its pretrain has not ended; this is step 2 of {steps}\n"
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "recipe.json", "tokenizer.json", "state.json"}
    assert (out / "recipe.json").read_text() == '{"seed": 3}'
    assert (out / "tokenizer.json").read_text() == '{"model": {}}'
    expected = {name: tensor + 1 for name, tensor in make_model().state_dict().items()}
    found = load_file(out / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in expected.items()
    )
    assert not list(tmp_path.glob(".*"))


def test_several_files_with_an_index(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        main(["export", str(run), f"--out={out}", "--form", "weights", "--step", "1", "--shard-gib", str(600 / 2**30)])
        == 0
    )
    index = json.loads((out / "model.safetensors.index.json").read_text())
    expected = make_model().state_dict()
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    # By hand, in order of names: 64 + 512 | 32 + 512 + 16 + 8 + 16 + 16 = 600 | 16.
    files = sorted(set(index["weight_map"].values()))
    assert files == [f"model-{number:05d}-of-{len(files):05d}.safetensors" for number in range(1, len(files) + 1)]
    assert len(files) == 3
    for file in files:
        tensors = load_file(out / file)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 600
        assert {name for name, place in index["weight_map"].items() if place == file} == tensors.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


def test_an_exported_folder_is_loaded_and_verified(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(["export", str(run), "--out", str(out), "--form", "weights", "--shard-gib", "0.0000001"])
    model = make_model()
    load_weights(out, model)
    expected = {name: tensor + 1 for name, tensor in make_model().state_dict().items()}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    path = next(out.glob("model-*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{path.name}: missing, cut short or altered"):
        load_weights(out, make_model())


def test_mistakes_are_one_line_and_leave_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, full = str(tmp_path / "out"), tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    for words, line in {
        (str(run),): "takes a run folder and --out FOLDER",
        ("--out", out): "takes a run folder and --out FOLDER",
        (str(run), "--out", out, "--stpe", "1"): "--stpe: no such flag, did you mean 'step'?",
        (str(run), "--out", out, "--step", "3"): "--step: no checkpoint of update 3; there are 1, 2",
        (str(run), "--out", out, "--shard-gib", "0"): "--shard-gib: '0' is not a number above 0",
        (
            str(run),
            "--out",
            out,
            "--form",
            "onxx",
        ): "--form: 'onxx' is none of huggingface, onnx, weights, packed, did you mean 'onnx'?",
        (str(run), "--out", out, "--shard-gib", "x"): "--shard-gib: 'x' is not a number above 0",
        (str(run), "--out", str(full)): "full: not empty; give --out a folder that is not there yet",
        (str(run), "--out", "/proc/out"): "/proc: nothing can be written there",
        (str(tmp_path / "no"), "--out", out): "no: no run folder (no config.json)",
        (str(tmp_path / "full"), "--out", out): "full: no run folder (no config.json)",
    }.items():
        assert main(["export", *words]) == 2
        told = capsys.readouterr().err
        assert told.startswith("m6: ")
        assert line in told
        assert told.count("\n") == 1
    (path,) = (checkpoints(run / "pretrain")[-1] / "model").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["export", str(run), "--out", out, "--form", "weights"]) == 2
    assert "missing, cut short or altered" in capsys.readouterr().err
    assert not Path(out).exists()
    assert not list(tmp_path.glob(".out*"))
