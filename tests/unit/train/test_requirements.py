"""What a machine or a recipe cannot do is told before the first stage, in one line, and nothing is made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from m6.config import UserError
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts.ffn import use_grouped
from m6.recipes import smoke
from m6.recipes.recipe import Recipe
from m6.train.requirements import check_recipe

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pretrain.loop.float8": True}, "loop.float8 needs an NVIDIA GPU of the Hopper kind or newer, this device is cpu"),
    ({"pretrain.loop.device": "cuda"}, "loop.device is 'cuda', but this PyTorch finds no CUDA device"),
    ({"vqgan.loop.device": "cuda"}, "loop.device is 'cuda', but this PyTorch finds no CUDA device"),
    ({"pretrain.loop.optimizer.states": "8bit"}, "optimizer.states '8bit' needs torchao: pip install 'open-m6[fast]'"),
    ({"vqgan.loop.compile": True}, "vqgan.loop.compile is for the transformer, not for the image tokenizer"),
    ({"vqgan.loop.heldout_every": 10}, "vqgan.loop.heldout_every: nothing is held out for this training"),
    (
        {"model.patch_size": 16},
        "model.patch_size 16 and model.backbone_channels 128 must be those of the image tokenizer, 8 and 128",
    ),
    (
        {"model.experts.num_experts": 2, "model.experts.kernel": "grouped", "model.experts.ffn_size": 30},
        "model.experts.kernel 'grouped' does not work for float32 on cpu with hidden_size 192 and ffn_size 30: these "
        "must be multiples of 4,",
    ),
    (
        {"model.stem": "crops", "model.crops.folder": "nowhere"},
        "model.crops.folder: nowhere/config.json cannot be read",
    ),
    ({"pretrain.data.mixture": []}, "pretrain.data.mixture is empty"),
    ({"pretrain.start_from": "nowhere"}, "pretrain.start_from: nowhere is not a run folder, it has no config.json"),
]


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without CUDA, without torchao and without fast bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


@pytest.mark.parametrize(("fields", "line"), REFUSED, ids=[next(iter(fields)) for fields, _ in REFUSED])
def test_it_is_told_before_anything_is_made(fields: dict[str, Any], line: str, poor: None, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_recipe(smoke.recipe().override(fields), tmp_path / "run")
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_quickstart_asks_before_its_first_stage(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path / "run"), "--model.patch_size", "16"]
    command = [sys.executable, "-m", "m6.cli", "quickstart", "smoke", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("m6: model.patch_size 16 and model.backbone_channels 128 must be those")
    assert not list(tmp_path.iterdir())


def test_a_plain_recipe_is_checked_without_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from m6.recipes import quickstart; import m6.train.requirements as r;"
        "r.check_recipe(quickstart.recipe(), Path('nowhere')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("dtype", "multiple"), [(torch.float32, 4), (torch.bfloat16, 8)])
def test_multiples_of_the_grouped_kernel_are_those_of_16_bytes(dtype: torch.dtype, multiple: int) -> None:
    rows = torch.empty(0, 16, dtype=dtype)
    assert use_grouped("grouped", rows, 3 * multiple)
    with pytest.raises(UserError, match=f"must be multiples of {multiple},"):
        use_grouped("grouped", rows, 3 * multiple - 2)


def test_experts_are_asked_about_where_there_are_some(poor: None, tmp_path: Path) -> None:
    dense = ModelConfig(stem="backbone", experts=ExpertsConfig(kernel="grouped", ffn_size=30))
    check_recipe(Recipe(**{**dict(smoke.recipe()), "model": dense}), tmp_path)
