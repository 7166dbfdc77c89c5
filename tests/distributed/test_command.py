"""`torchrun -m m6.cli pretrain`: the run of several processes is that of one; a mistake is one line and ends all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from m6.model.weights import TensorFiles
from m6.recipes import smoke
from m6.recipes.recipe import Recipe
from m6.run import Run, read_done, read_metrics
from m6.tokenizer import train as tokenizer
from tests.distributed.launch import command, free_port
from tests.unit.small_corpus import write_corpus

RECIPE = """
from m6.recipes import smoke

def recipe():
    return smoke.recipe().override({values!r})
"""
VALUES: dict[str, Any] = {
    "model.num_layers": 2,
    "model.hidden_size": 32,
    "model.num_heads": 2,
    "model.ffn_size": 64,
    "model.stem": "linear",
    "model.experts.num_experts": 4,
    "pretrain.data.image_input": "pixels",
    "pretrain.data.mixture": [
        {"source": "scenes", "samples": 3, "objectives": {"captioning": 1.0, "matching": 0.5}},
        {"source": "poems", "samples": 2.5, "objectives": {"poem": 1.0}},
    ],
    "pretrain.loop": {
        "num_steps": 6,
        "log_every": 2,
        "checkpoint_every": 3,
        "heldout_every": 6,
        "precision": "float32",
    },
    "pretrain.loop.heldout_batches": 2,
    "pretrain.loop.num_threads": 1,
    "pretrain.loop.optimizer.muon_learning_rate": 0.005,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and a run of it of which corpus, tokenizer and image tokenizer are done."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "small.py").write_text(RECIPE.format(values=VALUES), encoding="utf-8")
    recipe: Recipe = smoke.recipe().override(VALUES)
    run = Run.open(folder / "run", recipe)
    write_corpus(run.stage("corpus"))
    tokenizer.run(run, recipe.tokenizer)
    for stage in ("corpus", "tokenizer", "vqgan"):
        run.finish(stage)
    return folder


def words(prepared: Path, out: Path, *flags: str) -> list[str]:
    if not out.exists():
        shutil.copytree(prepared / "run", out, ignore=shutil.ignore_patterns(".lock"))
    return ["pretrain", str(prepared / "small.py"), "--out", str(out), *flags]


def test_a_run_under_torchrun_is_that_of_one_process(prepared: Path, tmp_path: Path) -> None:
    single, several = tmp_path / "single", tmp_path / "several"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, "-m", "m6.cli", *words(prepared, single)]
    subprocess.run(alone, check=True, timeout=120, env=environment, capture_output=True)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    flags = ["--pretrain.parallel.experts", "2"]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "m6.cli", *words(prepared, several, *flags)],
        timeout=120, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pretrain: done in") == 1
    assert done.stderr.count("pretrain: 6 in") == 1
    rows = [read_metrics(run / "pretrain" / "metrics.jsonl") for run in (several, single)]
    assert [row["step"] for row in rows[0]] == [2, 4, 6]
    for found, expected in zip(*rows, strict=True):
        assert found["tokens"] == expected["tokens"]
        for name, value in expected.items():
            if "loss" in name:
                assert found[name] == pytest.approx(value, abs=1e-5), name
    assert "heldout/loss" in rows[0][-1]
    figures = [read_done(run, "pretrain") or {} for run in (several, single)]
    for name in ("parameters", "vocabulary", "tokens"):
        assert figures[0][name] == figures[1][name]
    weights = [TensorFiles(run / "pretrain" / "step-00000006" / "model").read() for run in (several, single)]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] - weight).abs().max() < 1e-5 for name, weight in weights[1].items())

    (several / "pretrain" / "done.json").unlink()
    (path,) = (several / "pretrain" / "step-00000006" / "optimizer").glob("shard-00002*")
    path.unlink()
    told = command(2, words(prepared, several, *flags))
    assert [code for code, _ in told] == [2, 2]
    assert told[0][1].startswith(f"m6: {path}: missing, cut short or altered since it was written; remove ")
    assert (told[0][1].count("\n"), told[1][1]) == (1, "")


SLOW_STEPS = """
import time
from m6.train import pretrain

loss = pretrain.batch_loss

def slow_loss(*batch):
    time.sleep(0.3)
    return loss(*batch)

pretrain.batch_loss = slow_loss
"""


def test_a_training_may_last_longer_than_the_watchdog_waits(prepared: Path, tmp_path: Path) -> None:
    """The watchdog of the command sees where its training is: one that moves is left alone, one that stops is told."""
    values = {"num_steps": 30, "log_every": 10, "checkpoint_every": 15, "heldout_every": 0}
    long = {f"pretrain.loop.{name}": value for name, value in values.items()}
    (prepared / "long.py").write_text(
        SLOW_STEPS + RECIPE.format(values=VALUES | {"pretrain.loop": VALUES["pretrain.loop"] | values}),
        encoding="utf-8",
    )
    out = tmp_path / "run"
    given = words(prepared, out, "--pretrain.parallel.timeout", "6")
    Recipe.read(out / "config.json").override(long).write(out / "config.json")
    given[1] = str(prepared / "long.py")
    began = time.monotonic()
    told = command(2, given)
    assert [code for code, _ in told] == [0, 0], told
    assert time.monotonic() - began > 6, "it was too short to show anything"


PARALLEL = "pretrain.parallel"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({f"{PARALLEL}.shard": 3}, r"replicate 1 x shard 3 does not make the 2 ranks that were started"),
        ({f"{PARALLEL}.replicate": 3}, r"replicate 3 x shard the rest does not make the 2 ranks"),
        ({f"{PARALLEL}.experts": 4}, r"experts 4 does not divide the 2 ranks of a copy"),
        ({f"{PARALLEL}.experts": 2, "model.experts.num_experts": 3}, r"does not divide model.experts.num_experts 3"),
        ({f"{PARALLEL}.accumulate": 3}, r"gives 5 documents a step, too few for 2 ranks with 3 micro-batches each"),
        ({f"{PARALLEL}.accumulate": 0}, r"pretrain.parallel.*accumulate 0 must be at least 1"),
        ({"pretrain.loop.optimizer.states": "8bit"}, r"'8bit' is for one process"),
        ({"pretrain.loop.float8": "true"}, r"loop.float8 needs an NVIDIA GPU"),
        ({"pretrain.loop.device": "cuda"}, r"loop.device is 'cuda', but"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_of_the_first_rank(
    prepared: Path, tmp_path: Path, values: dict[str, Any], line: str
) -> None:
    out = tmp_path / "run"
    given = words(prepared, out)
    for name, value in values.items():
        given += [f"--{name}", str(value)]
        if PARALLEL not in name:  # which may change
            Recipe.read(out / "config.json").override({name: value}).write(out / "config.json")
    told = command(2, given)
    assert [code for code, _ in told] == [2, 2]
    assert re.fullmatch(rf"m6: .*{line}.*\n", told[0][1]), told[0][1]
    assert told[1][1] == ""
    assert not list(out.glob("pretrain/*"))


def test_a_run_that_is_being_written_is_refused_on_all_ranks(prepared: Path, tmp_path: Path) -> None:
    given = words(prepared, tmp_path / "run")
    Run.open(tmp_path / "run", Recipe.read(tmp_path / "run" / "config.json"))  # locked by this process
    told = command(2, given)
    assert [code for code, _ in told] == [2, 2]
    assert "another process is writing here" in told[0][1]
    assert told[1][1] == ""


def test_other_stages_are_the_work_of_one_process(prepared: Path, tmp_path: Path) -> None:
    for verb in ("evaluate", "quickstart"):
        told = command(2, [verb, *words(prepared, tmp_path / "run")[1:]])
        assert [code for code, _ in told] == [2, 2]
        assert told[0][1] == f"m6: m6 {verb} is the work of one process; torchrun is for pretrain and finetune\n"
