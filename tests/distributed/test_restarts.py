"""A rank killed at any step, twenty times: what is started again ends as what was never touched, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m6.data.packing import Batch
from m6.model.weights import checkpoints
from m6.parallel.mesh import Ranks
from m6.run import read_metrics
from m6.train.loop import train
from m6.train.window import Figures
from tests.distributed.launch import _join, free_port, run_on
from tests.distributed.training import LOOP, make_task, train_small

KILLS = 20
LONG = {"num_steps": 30, "checkpoint_every": 2}
EXPERTS = {"num_experts": 4, "top_k": 2, "ffn_size": 24, "balance": "bias"}


def dies(ranks: Ranks, folder: Path, victim: int, count: int, where: str) -> None:
    """A training in which a rank is killed in its `count`-th step from its start on."""
    task = make_task(ranks, EXPERTS)
    sound, steps = task.loss, iter(range(1, 100))

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        now = next(steps) == count and ranks.rank == victim
        if now and where == "forward":
            kill()
        value, figures = sound(batch, total)
        if now and where == "backward":
            value.register_hook(lambda _: kill())
        if now and where == "update":
            task.model.register_state_dict_pre_hook(lambda *_: kill())  # while a checkpoint is gathered, or not at all
        return value, figures

    train(replace(task, loss=loss), LOOP.override(LONG), folder, "test", {}, ranks)


def _started(rank: int, port: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    _join({"timeout": 4.0, "experts": 2}, dies, arguments)


def test_a_rank_is_killed_twenty_times(tmp_path: Path) -> None:
    chance = random.Random(0)
    folder = tmp_path / "killed"
    context = multiprocessing.get_context("forkserver")
    killed = 0
    for _ in range(KILLS):
        plan = folder, chance.randrange(2), chance.randint(1, 4), chance.choice(["forward", "backward", "update"])
        port = str(free_port())
        started = [context.Process(target=_started, args=(rank, port, plan)) for rank in range(2)]
        for process in started:
            process.start()
        started[plan[1]].join(timeout=60)
        started[1 - plan[1]].kill()  # wherever it is just then
        started[1 - plan[1]].join(timeout=60)
        assert started[plan[1]].exitcode is not None, f"{plan}: a rank did not end"
        killed += started[plan[1]].exitcode == -signal.SIGKILL
    assert killed > KILLS // 2
    assert checkpoints(folder)
    found = run_on(2, train_small, folder, EXPERTS, LONG, 30, experts=2)[0]
    expected = run_on(2, train_small, tmp_path / "whole", EXPERTS, LONG, 30, experts=2)[0]
    assert all(torch.equal(found.weights[name], weight) for name, weight in expected.weights.items())
    rows = [read_metrics(each / "metrics.jsonl") for each in (folder, tmp_path / "whole")]
    assert [(row["step"], row["loss"]) for row in rows[0]] == [(row["step"], row["loss"]) for row in rows[1]]
    assert len(rows[0]) == 30
