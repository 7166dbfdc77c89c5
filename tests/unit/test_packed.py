"""`m6 export --form packed`: a small run folder that answers nearly as the run does, and can be begun with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from m6.cli import main
from m6.config import UserError
from m6.generate.engine import Engine
from m6.model.packed import FEWEST, SCALE, pack, unpacked
from m6.model.weights import newest, opened
from m6.recipes.recipe import Recipe
from m6.train.start import begin
from tests.unit.checkpoints import save_weights
from tests.unit.interop.small_run import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    engine = write_run(folder, hidden_size=64, ffn_size=256)
    assert engine.vqgan is not None
    save_weights(folder / "vqgan", engine.vqgan)
    return folder


def export(run: Path, out: Path) -> Path:
    assert main(["export", str(run), "--out", str(out), "--form", "packed"]) == 0
    return out


def test_a_row_is_rounded_to_its_own_steps() -> None:
    matrix = torch.zeros(3, FEWEST)
    matrix[0, :4] = torch.tensor([127.0, -127.0, 63.4, 0.6])  # steps of 1
    matrix[1, :3] = torch.tensor([0.254, -0.127, 0.0031])  # of 0.002; the third row is all zeros
    packed = pack({"matrix": matrix, "norm": torch.ones(FEWEST), "thin": torch.ones(2, 2)})
    assert packed.keys() == {"matrix", "matrix" + SCALE, "norm", "thin"}
    assert packed["matrix"].dtype == torch.int8
    assert packed["matrix"][0, :4].tolist() == [127, -127, 63, 1]
    assert packed["matrix"][1, :3].tolist() == [127, -64, 2]  # 63.5 goes to the even number
    back = unpacked(packed["matrix"], packed["matrix" + SCALE])
    assert back[1, 2].item() == pytest.approx(0.004)
    assert (back[2] == 0).all()


def test_a_packed_run_is_small_and_answers_nearly_as_the_run_does(run: Path, tmp_path: Path) -> None:
    (run / "README.md").write_text("# 它的卡片\n", encoding="utf-8")
    out = export(run, tmp_path / "out")
    assert (out / "README.md").read_text(encoding="utf-8") == "# 它的卡片\n"
    whole, small = (newest(folder / "pretrain", "pretrain") for folder in (run, out))
    sizes = [sum(path.stat().st_size for path in each.rglob("model/*.safetensors")) for each in (whole, small)]
    assert sizes[1] < sizes[0] / 3
    ours, theirs = Engine.load(out), Engine.load(run)
    for name, tensor in theirs.model.state_dict().items():
        found = ours.model.state_dict()[name]
        assert found.dtype == tensor.dtype
        if tensor.dim() >= 2 and tensor.numel() >= FEWEST:
            step = tensor.abs().flatten(1).amax(1) / 127
            assert ((found - tensor).abs().flatten(1) <= step[:, None] * 0.501).all()
            assert not found.equal(tensor)
        else:
            assert found.equal(tensor)
    assert ours.vqgan is not None
    assert theirs.vqgan is not None
    assert all(map(torch.equal, ours.vqgan.state_dict().values(), theirs.vqgan.state_dict().values()))
    ids = torch.tensor(ours.tokenizer.encode("左边是猫"))[None]
    position = torch.arange(ids.shape[1])[None, :, None].expand(-1, -1, 3)
    found, expected = (engine.hidden(ids, position, None) for engine in (ours, theirs))
    assert torch.nn.functional.cosine_similarity(found, expected, dim=-1).min() > 0.999


def test_a_packed_run_is_verified_and_can_be_begun_with(run: Path, tmp_path: Path) -> None:
    out = export(run, tmp_path / "out")
    own = tmp_path / "own"
    for name in ("tokenizer", "vqgan"):
        shutil.copytree(out / name, own / name)
    model = Engine.load(run).model
    begin(model, out, own, seed=0)
    packed = opened(newest(out / "pretrain", "pretrain"))[0].read()
    assert all(tensor.equal(packed[name]) for name, tensor in model.state_dict().items())
    (path,) = newest(out / "pretrain", "pretrain").glob("model/*")
    assert any(tensor.dtype == torch.int8 for tensor in load_file(path).values())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="missing, cut short or altered"):
        Engine.load(out)
    assert Recipe.read(out / "config.json") == Recipe.read(run / "config.json")


def test_a_packed_run_does_not_tell_where_it_began(run: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(run / "config.json")
    begun = {f"{section}.start_from": "/somewhere/else" for section in ("tokenizer", "vqgan", "pretrain")}
    recipe.override(begun | {"vqgan.frozen": True}).write(run / "config.json")
    assert Recipe.read(export(run, tmp_path / "out") / "config.json") == recipe
