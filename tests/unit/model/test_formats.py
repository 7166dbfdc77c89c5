"""Formats of checkpoints: those that were kept say what they said and are trained on, newer ones are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m6.cli import main
from m6.config import UserError
from m6.generate.engine import Engine
from m6.generate.prefill import Prefill
from m6.model.formats import FORMAT, MIGRATIONS, migrated
from m6.model.weights import checked_state, checkpoints, state_of
from m6.tokenizer.vocabulary import TEXT
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig
from m6.train.optimizer import Optimizers
from m6.train.pretrain import muon_matrices
from tests.unit.checkpoints import save_weights

FIXTURES = Path(__file__).parents[2] / "fixtures"
KEPT = [FIXTURES / f"checkpoint-format-{number}" for number in range(1, FORMAT)]
"""A run folder of each format before today's, cut to what asking it needs."""
PATH = Path("run/state.json")


def told(engine: Engine) -> dict[str, list[float]]:
    """A few logits of an answer about a picture, and a few pixels of what some codes paint."""
    pixels = np.broadcast_to((np.indices((64, 64)).sum(0) * 2)[..., None], (64, 64, 3)).astype(np.uint8)
    with torch.inference_mode():
        cached = Prefill(engine, [(engine.picture(pixels), engine.text("左边是什么？"))], 1)
        logits = engine.text_logits(cached.step(torch.tensor([TEXT]), cached.order, 0, 0))
    painting = engine.decode_codes(np.arange(64).reshape(1, 8, 8) % 16)
    return {"logits": logits.flatten()[:12].tolist(), "painting": painting[0, ::16, ::16].flatten().tolist()}


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_what_was_kept_says_what_it_said(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    found = told(Engine.load(folder, device="cpu"))
    assert found["logits"] == pytest.approx(expected["logits"], abs=1e-4)
    assert found["painting"] == pytest.approx(expected["painting"], abs=1)


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_training_goes_on_from_what_was_kept(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "pretrain", tmp_path / "pretrain")
    config = LoopConfig.read(folder / "config.json", section="pretrain.loop")
    model = Engine.load(folder, device="cpu").model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizers = Optimizers(model, config.optimizer, config.num_steps, muon_matrices(model))
    (old,) = checkpoints(tmp_path / "pretrain")
    with Checkpoints(tmp_path / "pretrain", model, optimizers, config, {}) as saved:
        step = saved.resume()
        saved.save(step + 1)
    assert step == checked_state(old)["step"] == config.num_steps
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert json.loads((checkpoints(tmp_path / "pretrain")[-1] / "state.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_what_was_kept_is_of_its_format_and_small(folder: Path) -> None:
    number = int(folder.name.rpartition("-")[2])
    assert all(json.loads(path.read_text()).get("format", 1) == number for path in folder.rglob("state.json"))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 150_000


def test_each_format_before_todays_has_its_function() -> None:
    assert list(MIGRATIONS) == list(range(1, FORMAT))


def test_the_first_format_gets_a_number_and_what_it_left_out() -> None:
    state = {"step": 3, "sha256": {}}
    assert migrated(state, PATH) == {"format": 2, "step": 3, "sha256": {}, "beside": {}}
    assert state == {"step": 3, "sha256": {}}
    assert migrated({**state, "beside": {"tokenizer": "a"}}, PATH)["beside"] == {"tokenizer": "a"}


def test_todays_is_left_alone() -> None:
    state = {"format": FORMAT, "step": 3, "new": 1}
    assert migrated(state, PATH) == state


def test_functions_are_called_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m6.model.formats.FORMAT", 4)
    monkeypatch.setitem(MIGRATIONS, 2, lambda state: {**state, "steps": [state["step"]]})
    monkeypatch.setitem(MIGRATIONS, 3, lambda state: {**state, "steps": [*state["steps"], 9]})
    assert migrated({"step": 3}, PATH) == {"format": 4, "step": 3, "beside": {}, "steps": [3, 9]}
    assert migrated({"format": 3, "steps": []}, PATH) == {"format": 4, "steps": [9]}


@pytest.mark.parametrize("number", ["2", 0, -1, True, None, 1.5])
def test_what_is_no_format_is_refused(number: Any) -> None:
    with pytest.raises(UserError, match=r"run/state\.json: .* is no format of a checkpoint, which are 1 to 2"):
        migrated({"format": number}, PATH)


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of tomorrow, which is left as it is."""
    save_weights(tmp_path / "pretrain", torch.nn.Linear(2, 2))
    path = tmp_path / "pretrain" / "step-00000001" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
    before = path.read_bytes()
    yield path.parent
    assert path.read_bytes() == before


def test_a_newer_one_is_refused_in_one_line(newer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = r"state\.json: format 3 is of a newer Open M6, this one \(\S+\) reads 1 to 2; pip install --upgrade open-m6$"
    with pytest.raises(UserError, match=line):
        state_of(newer)
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=line):
        Checkpoints(newer.parent, model, Optimizers(model, LoopConfig().optimizer, 1), LoopConfig(), {}).resume()
    run = newer.parents[1]
    (run / "tokenizer").mkdir()
    for name in ("config.json", "tokenizer/tokenizer.json"):
        (run / name).write_text("{}")
    assert main(["export", str(run), "--out", str(run / "out"), "--form", "weights"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("pip install --upgrade open-m6")
    assert not (run / "out").exists()
