"""What goes wrong on a cluster: ranks killed, frozen, hanging, asked to stop, or not alike. Each ends in order."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from m6.data.packing import Batch
from m6.data.sample import Sample
from m6.data.unusable import Skipped
from m6.model.transformer import Transformer
from m6.model.weights import TensorFiles
from m6.parallel.fingerprint import check_shared, compare
from m6.parallel.mesh import AgreedError, Ranks
from m6.parallel.state import whole_state
from m6.recipes.recipe import Recipe
from m6.run import EndedError, read_done, read_metrics
from m6.train.guard import NonFiniteLossError
from m6.train.loop import train
from m6.train.window import Figures
from tests.distributed import training
from tests.distributed.faults import steps_done, torchrun, until, workers
from tests.distributed.launch import free_port, run_on
from tests.distributed.test_command import prepared, words
from tests.distributed.training import LOOP, alone, assert_same, make_task, train_small

__all__ = ["prepared"]

MUON = {"optimizer.learning_rate": 1e-3, "optimizer.muon_learning_rate": 0.005}
EXPERTS = {"num_experts": 4, "top_k": 2, "ffn_size": 24, "balance": "bias", "z_weight": 0.0}
LONG = ["--pretrain.loop.log_every", "1", "--pretrain.loop.heldout_every", "0"]


def poisoned(ranks: Ranks, folder: Path, max_skipped: int, bad_steps: tuple[int, ...]) -> list[dict[str, Any]] | str:
    """A training in which the loss of rank 1 is no number at some steps; its metrics, or how it ended."""
    task = make_task(ranks, EXPERTS)
    sound, step = task.loss, iter(range(100))

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        value, figures = sound(batch, total)
        bad = next(step) in bad_steps and ranks.rank == ranks.world - 1
        return (value * float("nan") if bad else value), figures

    before = {name: tensor.clone() for name, tensor in whole_state(task.model, ranks).items()}
    try:
        train(replace(task, loss=loss), LOOP.override({"max_skipped": max_skipped}), folder, "test", {}, ranks)
    except NonFiniteLossError as error:
        return str(error)
    if ranks.first and len(bad_steps) == LOOP.num_steps:
        after = whole_state(task.model, ranks) if not ranks.joined else {}
        assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
        assert isinstance(task.model, Transformer)
        assert not any(layer.router.pending.any() for layer in task.model.experts().values())
    return read_metrics(folder / "metrics.jsonl")


def test_a_step_that_is_no_number_on_one_rank_is_skipped_on_all(tmp_path: Path) -> None:
    """As one process that skips it too; the samples of the rank at fault stand in the file, and only they."""
    expected = poisoned(Ranks(), tmp_path / "one", 2, (3, 5))
    found = run_on(2, poisoned, tmp_path / "two", 2, (3, 5))
    assert [row["skipped_steps"] for row in found[0]] == [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]
    for ours, theirs in zip(found[0], expected, strict=True):
        assert isinstance(theirs, dict)
        if ours["step"] in (4, 6):
            assert ours["loss"] is None
        else:
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
    rows = read_metrics(tmp_path / "two" / "skipped.jsonl")
    assert [(row["step"], row["kind"], row["loss"]) for row in rows] == [(3, "step", None), (5, "step", None)]
    assert rows[0]["samples"] == [sample.key for sample in training.Samples().samples(3)[1::2]]
    lines = run_on(2, poisoned, tmp_path / "three", 1, (3, 5))
    assert "step 5: loss nan" in lines[1]
    assert "nothing was updated, nor in 1 steps before" in lines[0]
    # Counts survive: the checkpoint of step 5 has seen one skipped step, and the next is one too many again.
    lines = run_on(2, poisoned, tmp_path / "three", 1, (0,))
    assert "step 5: loss nan" in lines[0]


def test_a_training_of_nothing_but_bad_steps_leaves_weights_and_bias_as_they_were(tmp_path: Path) -> None:
    rows = poisoned(Ranks(), tmp_path, 10, tuple(range(10)))
    assert rows[-1]["skipped_steps"] == 10  # type: ignore[index]


class Few(training.Samples):
    """One sample at some steps, with a picture: a rank of two has none."""

    def samples(self, step: int) -> list[Sample]:
        samples = super().samples(step)
        return [sample for sample in samples if sample.key == "shared"][:1] if step % 2 else samples


def with_few(ranks: Ranks, folder: Path) -> training.Outcome:
    training.Samples = Few  # type: ignore[misc]
    return train_small(ranks, folder, EXPERTS, MUON)


def test_a_rank_without_samples_computes_along_and_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Samples", Few)
    expected = alone(tmp_path / "one", EXPERTS, MUON)
    for config in ({}, {"experts": 2}):
        assert_same(run_on(2, with_few, tmp_path / str(len(config)), **config)[0], expected)


def corrupt(ranks: Ranks, folder: Path, share: float) -> str:
    task = make_task(ranks, {})
    bad = (Skipped(f"emoji/{ranks.rank}", "OSError: gone"),)
    task = replace(task, skipped=lambda batch: bad, max_skipped=share)
    try:
        train(task, LOOP, folder, "test", {}, ranks)
    except AgreedError as error:
        return str(error)
    return str(read_metrics(folder / "metrics.jsonl")[-1]["skipped_documents"])


def test_documents_that_cannot_be_used_are_counted_over_ranks_up_to_a_share(tmp_path: Path) -> None:
    """Two in each step beside sixteen that can be: a ninth. Ten are always allowed, so the sixth step has too many."""
    assert run_on(2, corrupt, tmp_path / "kept", 0.112)[0] == "20"
    keys = [row["key"] for row in read_metrics(tmp_path / "kept" / "skipped.jsonl")]
    assert keys == ["emoji/0", "emoji/1"] * 10
    lines = run_on(2, corrupt, tmp_path / "over", 0.11)
    assert lines[0] == lines[1]
    assert "test: 12 of 108 documents cannot be used, 11.1%; max_skipped allows 11.0%" in lines[0]
    assert "emoji/1: OSError: gone" in lines[0]


def look(ranks: Ranks, folder: Path, shared: bool) -> str:
    own = folder / ("both" if shared else str(ranks.rank))
    own.mkdir(exist_ok=True, parents=True)
    try:
        check_shared(ranks, own)
    except AgreedError as error:
        return str(error)
    return ",".join(path.name for path in own.iterdir())


def test_ranks_that_see_different_folders_are_told_at_the_start(tmp_path: Path) -> None:
    assert run_on(2, look, tmp_path, True) == ["", ""]
    told = run_on(2, look, tmp_path, False)
    assert told[0] == told[1]
    assert "rank 1 finds another folder at" in told[0]


def asked_on_one(ranks: Ranks, folder: Path, asked_at: int) -> str:
    task = make_task(ranks, {})
    sound, step = task.loss, iter(range(100))

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        if next(step) == asked_at and ranks.rank == ranks.world - 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # its thread reads it
        return sound(batch, total)

    try:
        train(replace(task, loss=loss), LOOP, folder, "test", {}, ranks)
    except EndedError as ended:
        return f"{ended.code} {ended}"
    return "not stopped"


def test_one_rank_that_is_asked_to_stop_stops_all_after_the_step(tmp_path: Path) -> None:
    assert run_on(2, asked_on_one, tmp_path, 2) == ["0 test: stopped at step 3, saved; the same command goes on", "0 "]
    assert (tmp_path / "step-00000003").is_dir()
    assert_same(run_on(2, train_small, tmp_path, {})[0], run_on(2, train_small, tmp_path / "whole", {})[0], 0.0)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 11))


def test_sigterm_to_torchrun_saves_also_while_workers_prepare(prepared: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ["--pretrain.loop.num_steps", "5000", "--pretrain.loop.num_workers", "1", *LONG]
    launcher = torchrun(2, words(prepared, run, *flags))
    set_steps(run, 5000)
    until(lambda: steps_done(run) > 3, "the first steps")
    launcher.send_signal(signal.SIGTERM)
    _, told = launcher.communicate(timeout=60)
    lines = re.findall(r"^pretrain: stopped at step (\d+), saved; the same command goes on$", told, re.MULTILINE)
    assert len(lines) == 1, told
    assert (run / "pretrain" / f"step-{int(lines[0]):08d}").is_dir()
    assert read_done(run, "pretrain") is None
    assert "DataLoader" not in told
    assert "rank" not in told.split("Traceback")[0].replace("local_rank", "")


def set_steps(run: Path, steps: int) -> None:
    """The config of a prepared run with another number of steps, which a flag may not change."""
    path = run / "config.json"
    path.write_text(re.sub(r'("pretrain":.*?"num_steps": )\d+', rf"\g<1>{steps}", path.read_text(), flags=re.DOTALL))


@pytest.mark.parametrize("verb", ["pretrain", "vqgan"])
def test_sigterm_to_one_process_saves_and_ends_well(prepared: Path, tmp_path: Path, verb: str) -> None:
    run = tmp_path / "run"
    given = [verb, *words(prepared, run)[1:], f"--{verb}.loop.num_steps", "5000"]
    path = run / "config.json"
    recipe: Recipe = Recipe.read(path)
    recipe.override({f"{verb}.loop.num_steps": 5000}).write(path)
    if verb == "vqgan":
        (run / "vqgan" / "done.json").unlink()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "m6.cli", *given, f"--{verb}.loop.log_every", "1"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    until(lambda: len(read_metrics(run / verb / "metrics.jsonl")) > 2, "the first steps")
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert re.search(rf"^{verb}: stopped at step \d+, saved; the same command goes on$", told, re.MULTILINE), told
    assert read_done(run, verb) is None


def hang(ranks: Ranks, folder: Path, how: str) -> None:
    task = make_task(ranks, {})
    sound, step = task.loss, iter(range(100))

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        if next(step) == 3 and ranks.rank == 1:
            if how == "sleeps":
                time.sleep(100)
            os.kill(os.getpid(), signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
        return sound(batch, total)

    train(replace(task, loss=loss), LOOP, folder, "test", {}, ranks)


SCRIPT = """
import sys
from pathlib import Path
import torch
from m6.parallel.config import ParallelConfig
from m6.parallel.processes import joined
from m6.run import EndedError
from tests.distributed.test_faults import hang
torch.set_num_threads(1)
try:
    with joined(ParallelConfig(timeout=4.0), "cpu") as ranks:
        hang(ranks, Path(sys.argv[1]), sys.argv[2])
except EndedError as ended:
    print(ended, file=sys.stderr)
    sys.exit(ended.code)
"""


@pytest.mark.parametrize("how", ["sleeps", "frozen", "killed"])
def test_who_hangs_or_is_gone_is_told_once(tmp_path: Path, how: str) -> None:
    """Three ranks without torchrun, each a process whose words and exit code are seen."""
    port = str(free_port())
    started = []
    for rank in range(3):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "3", "LOCAL_RANK": str(rank)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), how]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    told = {}
    for rank in (0, 2):
        told[rank] = started[rank].communicate(timeout=60)[1]
        assert started[rank].returncode == 1, told
    started[1].kill() if how == "frozen" else None
    told[1] = started[1].communicate(timeout=60)[1]
    together = "".join(told.values())
    assert "Traceback" not in together, together
    if how == "killed":
        line = r"rank 1 was lost, killed or cut off; the same command goes on from the last checkpoint"
        assert len(re.findall(line, together)) == 1, together
        return
    assert together.count("the training hangs") == 1, together
    assert "the training hangs" in told[0]
    assert re.search(r"ranks 0, 2 wait in \w+ \(m6/[\w/]+\.py:\d+\)", told[0]), told[0]
    if how == "frozen":
        assert "rank 1 gives no sign of life: it is frozen or gone; it was last seen in" in told[0]
    else:
        assert re.search(r"hangs: rank 1 has been in forward of step 3 for \d s", told[0]), told[0]
        assert re.search(r'test_faults.py", line \d+, in loss\n\s+time.sleep\(100\)', told[0]), told[0]


def unlike(ranks: Ranks) -> str:
    try:
        compare(ranks, {"torch": "2.13.0", "the code of m6": "b" if ranks.rank == 2 else "a"})
    except AgreedError as error:
        return str(error)
    return "alike"


def test_ranks_that_are_not_alike_are_told_on_all_before_they_train() -> None:
    lines = run_on(3, unlike)
    assert len(set(lines)) == 1
    assert "the ranks are not alike; the code of m6: a on ranks 0, 1; b on rank 2. Give all" in lines[0]


def test_a_rank_with_other_flags_ends_all_within_a_minute(prepared: Path, tmp_path: Path) -> None:
    """The second rank computes with another number of micro-batches: without a check both would wait for ever."""
    given = words(prepared, tmp_path / "run")
    launched = free_port()
    started = []
    for rank, flags in enumerate([[], ["--pretrain.parallel.accumulate", "2"]]):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(launched), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "m6.cli", *given, *flags]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [2, 2], told
    assert "m6: the ranks are not alike; pretrain.parallel.accumulate: 1 on rank 0; 2 on rank 1." in told[0]
    assert told[1] == ""


@pytest.fixture(scope="module")
def unbroken(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nobody touches."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    given = words(prepared, run, "--pretrain.loop.num_steps", "40", *LONG)
    set_steps(run, 40)
    _, told = (launcher := torchrun(2, given)).communicate(timeout=120)
    assert launcher.returncode == 0, told
    return run


def test_ranks_that_are_killed_are_started_again_to_the_same_weights(
    prepared: Path, tmp_path: Path, unbroken: Path
) -> None:
    """torchrun starts all again, twice; each time a rank drawn by chance is killed at a step drawn by chance."""
    chance = random.Random(0)
    run = tmp_path / "run"
    given = words(prepared, run, "--pretrain.loop.num_steps", "40", *LONG)
    set_steps(run, 40)
    launcher = torchrun(2, given, "--max-restarts", "3")
    killed: list[int] = []
    for least in (6, 22):
        at = least + chance.randrange(8)
        until(lambda at=at: steps_done(run) >= at, f"step {at}")  # type: ignore[misc]
        rank = chance.randrange(2)
        killed.append(pid := workers(launcher)[rank])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not set(workers(launcher).values()) & set(killed), "its end")
    _, told = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, told
    assert_as_unbroken(run, unbroken)


def assert_as_unbroken(run: Path, unbroken: Path) -> None:
    """Weights to the bit, and every row of metrics once."""
    rows = [read_metrics(each / "pretrain" / "metrics.jsonl") for each in (run, unbroken)]
    assert [(row["step"], row["loss"]) for row in rows[0]] == [(row["step"], row["loss"]) for row in rows[1]]
    found, expected = (TensorFiles(each / "pretrain" / "step-00000040" / "model").read() for each in (run, unbroken))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
