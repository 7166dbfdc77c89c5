"""`m6 plan`: the same to people and programs; mistakes are one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m6.cli import main
from m6.parallel.plan.hardware import GPUS
from m6.plan import plan
from m6.recipes import smoke
from m6.run import Run

Said = pytest.CaptureFixture[str]


def facts(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan([*words, "--json"]))
    return found


def test_numbers_agree_with_each_other() -> None:
    fact = facts("10b", "--gpus", "64", "--gpu", "h100", "--samples-per-step", "512", "--price", "3")
    best = fact["plan"]
    assert fact["fits"]
    assert best["mesh"]["replicate"] * best["mesh"]["shard"] == 64
    assert best["rows"] * best["accumulate"] * 64 == best["samples_per_step"] == 512
    parts = [value for value in best["memory"].values() if not isinstance(value, str)]
    assert sum(parts) == pytest.approx(best["device_bytes"])
    assert best["device_bytes"] < fact["gpu"]["memory_gib"] * 2**30
    assert best["tokens_per_second"] == pytest.approx(512 * 1024 / best["seconds"]["step"])
    corpus = best["corpus"]
    assert corpus["days"] == pytest.approx(111.8e9 / best["tokens_per_second"] / 86_400)
    assert corpus["dollars"] == pytest.approx(corpus["days"] * 24 * 64 * 3)
    assert sum(flow["seconds"] for flow in best["traffic"] if flow["part"] == "weights") == best["seconds"]["weights"]


def test_a_page_is_a_screen_and_has_the_papers_figure() -> None:
    words = ["100b", "--gpus", "128", "--gpu", "a100-80g", "--length", "272", "--price", "2"]
    page = plan(words)
    assert "1,440 texts/s of 272 tokens on 128 A100 (recalled)" in page
    assert "all-to-all, experts" in page
    assert "--pretrain.parallel.experts" in page
    lines = page.splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120
    paper = facts(*words)["paper"]
    assert paper["tokens_per_second"] == 1440 * 272
    assert "paper" not in facts("100b", "--gpus", "128", "--model.num_layers", "12")


def test_where_it_does_not_fit_the_page_says_what_would() -> None:
    page = plan(["10b", "--gpus", "1", "--gpu", "a100-80g"])
    assert "It does NOT fit" in page
    assert "It would fit with --gpus 2" in page
    assert "It would fit with --gpu h200" in page
    assert "nothing is sent" in page


def test_a_gpu_of_your_own(tmp_path: Path) -> None:
    own = facts("base", "--gpus", "8", "--gpu.memory-gib", "96", "--gpu.tflops", "500")["gpu"]
    assert (own["memory_gib"], own["tflops"]) == (96, 500)
    assert own["network_bandwidth"] == GPUS["a100-80g"].network_bandwidth
    file = tmp_path / "own.json"
    GPUS["h200"].override({"tflops": 1}).write(file)
    assert facts("base", "--gpus", "8", "--gpu", str(file))["gpu"]["tflops"] == 1


def test_a_given_mfu_is_not_assumed() -> None:
    assert facts("base", "--gpus", "8")["efficiency"]["mfu_assumed"]
    given = facts("base", "--gpus", "8", "--mfu", "0.5")["efficiency"]
    assert (given["mfu"], given["mfu_assumed"]) == (0.5, False)


def test_a_recipe_and_its_run(tmp_path: Path) -> None:
    """Both have the recipe's vocabulary, rows and optimizers."""
    run = Run.open(tmp_path / "run", smoke.recipe())
    words = ["--gpus", "2", "--gpu", "cpu", "--tokens-per-step", "4096"]
    planned = [facts(name, *words)["plan"] for name in ("smoke", str(run.folder))]
    assert planned[0] == planned[1]
    assert planned[0]["length"] == smoke.recipe().pretrain.data.row_length


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "takes one size, recipe or run folder, got none"),
        ("bse --gpus 8", "no size, recipe or run folder 'bse', did you mean 'base'?"),
        ("base", "m6 plan needs --gpus"),
        ("base --gpus 0", "--gpus: '0' is not a whole number from 1 on"),
        ("base --gpus 8 --gpu h10", "--gpu: no GPU 'h10', did you mean 'h100'?"),
        ("base --gpus 8 --gpu none.json", "none.json: no such file"),
        ("base --gpus 8 --gpu.memry-gib 9", "no field 'memry_gib', did you mean 'memory_gib'?"),
        ("base --gpus 8 --gpu.tflops nan", "tflops: 'nan' should be a finite number"),
        ("base --gpus 12", "--gpus-per-node 8 does not divide the 12 GPUs"),
        ("base --gpus 8 --parallel.replicate 3", "--parallel.replicate 3 does not divide the 8 GPUs"),
        ("100b --gpus 8 --parallel.experts 7", "--parallel.experts 7 does not divide the 1024 experts"),
        ("base --gpus 8 --parallel.shard 0", "--parallel.shard: '0' is not a whole number from 1 on"),
        ("base --gpus 8 --parallel.shards 2", "--parallel.shards: no such flag"),
        ("base --gpus 8 --samples-per-step 12", "--samples-per-step 12 cannot be divided among 8 GPUs"),
        ("base --gpus 8 --samples-per-step 8 --tokens-per-step 8", "not both"),
        ("base --gpus 8 --rows 7", "--rows 7 does not divide the"),
        ("base --gpus 8 --mfu 2", "mfu 2 must be above 0 and at most 1"),
        ("base --gpus 8 --price x", "--price: 'x' is not a number from 0 on"),
        ("base --gpus 8 --checkpointing half", "--checkpointing 'half', allowed: none, selective, full"),
        ("base --gpus 8 --seed 3", "--seed is nothing that m6 plan takes"),
        ("base --gpus 8 --model.num_heads 7", "hidden_size 1024 is not a multiple of num_heads 7"),
    ],
)
def test_mistakes_are_one_line(words: str, line: str, capsys: Said) -> None:
    assert main(["plan", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.count("\n") == 1
