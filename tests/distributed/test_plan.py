"""A plan tells what ranks really hold and send: its formulas against four that train over gloo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.fsdp import local
from m6.parallel.ledger import Collective, Ledger, Traffic
from m6.parallel.mesh import Ranks
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import kept, memory, weights
from m6.parallel.plan.traffic import flows
from m6.train.config import LoopConfig
from m6.train.dry_run import STEPS, as_on_a_gpu, named_groups, text_task
from m6.train.loop import train
from tests.distributed.launch import run_on
from tests.unit.parallel import activations as small
from tests.unit.parallel.activations import after_forward

VOCABULARY = 600
ROWS, LENGTH = 2, 128
DENSE = ModelConfig(num_layers=3, hidden_size=128, num_heads=4, ffn_size=512)
SPARSE = DENSE.override({"experts": {"num_experts": 8, "top_k": 2, "every": 2, "ffn_size": 256}})
LOOP = LoopConfig(num_steps=STEPS, log_every=STEPS, checkpoint_every=0, precision="bfloat16", device="cpu")
ADAMW = {"optimizer": {"muon_learning_rate": 0.0}}


def real_run(
    ranks: Ranks, folder: Path, model: ModelConfig, loop: dict[str, Any]
) -> tuple[int, int, dict[Collective, Traffic]]:
    """Bytes of weights, and of all at the peak, and traffic of a step."""
    ledger = Ledger(named_groups(ranks))
    with torch.device("meta"):
        made = Transformer(model, VOCABULARY)
    task, _ = text_task(made, ranks, ROWS, LENGTH, ledger)
    with as_on_a_gpu(), ledger:
        train(task, LOOP.override(loop), folder, "real", {}, ranks)
    own = sum(local(weight).nbytes for weight in made.parameters())
    return own, ledger.peak, dict(ledger.traffic)


@pytest.mark.parametrize(
    ("model", "config", "loop"),
    [
        (DENSE, {}, {}),
        (DENSE, {"replicate": 2, "accumulate": 2, "reshard_after_forward": False}, {"checkpointing": "selective"}),
        (DENSE, {"accumulate": 2}, {"checkpointing": "full", **ADAMW}),
        (SPARSE, {"experts": 4}, {"checkpointing": "full", **ADAMW}),
        (SPARSE, {"experts": 2}, {}),
        (SPARSE.override({"experts.num_experts": 6}), {"experts": 2, "replicate": 1}, {}),
    ],
    ids=["dense", "copies", "micro-batches", "experts", "experts and shards", "experts by rows"],
)
def test_a_plan_tells_of_a_real_step(
    tmp_path: Path, model: ModelConfig, config: dict[str, Any], loop: dict[str, Any]
) -> None:
    real = run_on(4, real_run, tmp_path, model, loop, **config)
    settings = LOOP.override(loop)
    muon = settings.optimizer.muon_learning_rate > 0
    parallel = ParallelConfig.model_validate(config)
    job = Job(model, VOCABULARY, 4, parallel, ROWS, LENGTH, settings.checkpointing, muon)
    assert weights(job) == pytest.approx(sum(each[0] for each in real) / len(real), rel=0.01)
    assert memory(job).tensors == pytest.approx(sum(each[1] for each in real) / len(real), rel=0.1)
    for rank, (_, _, traffic) in enumerate(real):
        planned = {(flow.kind, flow.axis): flow for flow in flows(job, rank)}
        seen = {(what.kind, what.group): each for what, each in traffic.items() if what.group != "world"}
        tokens = ("all_to_all", "experts")
        if job.axes.experts == job.axes.shard > 1:  # one group with two names
            tokens = ("all_to_all", "shard")
            planned = {(kind, {"experts": "shard"}.get(axis, axis)): flow for (kind, axis), flow in planned.items()}
        scalars = seen.pop(("all_reduce", "shard"), Traffic())  # norms, loads of experts: left out of a plan
        assert scalars.bytes < 200
        assert planned.keys() == seen.keys()
        for what, flow in planned.items():
            assert flow.calls == seen[what].calls, what
            sent = [each[2][Collective(*what)].bytes for each in (real if what == tokens else real[rank : rank + 1])]
            assert flow.bytes == pytest.approx(sum(sent) / len(sent), rel=0.02), what


def activations(ranks: Ranks, model: ModelConfig, how: str) -> int:
    """Bytes of two layers more."""
    more, less = (after_forward(model.override({"num_layers": layers}), how, ranks)[0] for layers in (4, 2))
    return more - less


@pytest.mark.parametrize("how", ["none", "selective", "full"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_activations_of_experts_are_what_is_there(how: Literal["none", "selective", "full"], top_k: int) -> None:
    """Where tokens go differs from rank to rank; a plan has the mean."""
    model = DENSE.override({"experts": {"num_experts": 8, "top_k": top_k}})
    found = run_on(2, activations, model, how, experts=2)
    job = Job(model, 50, 2, ParallelConfig(experts=2), small.ROWS, small.LENGTH, how)
    assert 2 * job.tokens * kept(job, 0) == pytest.approx(sum(found) / len(found), rel=0.1)
