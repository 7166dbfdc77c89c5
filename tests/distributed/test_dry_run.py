"""A dry run tells what a real run holds and sends: both are counted by one ledger."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from m6.model.config import ModelConfig
from m6.model.sizes import SIZES
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.ledger import Collective, Ledger, Traffic
from m6.parallel.mesh import Ranks
from m6.train.config import LoopConfig
from m6.train.dry_run import STEPS, as_on_a_gpu, dry_run, named_groups, text_task
from m6.train.loop import train
from tests.distributed.launch import run_on

VOCABULARY = 600
ROWS, LENGTH = 2, 64
DENSE = ModelConfig(num_layers=3, hidden_size=64, num_heads=4, ffn_size=256)
SPARSE = DENSE.override({"experts": {"num_experts": 8, "top_k": 2, "every": 2, "ffn_size": 128}})
TOKENS = {4: "shard", 2: "experts"}
"""The group in which tokens travel, by the number of groups of experts on four ranks."""
LOOP = LoopConfig(num_steps=STEPS, log_every=STEPS, checkpoint_every=0, precision="bfloat16", device="cpu")


def real_run(
    ranks: Ranks, folder: Path, model: ModelConfig, loop: dict[str, Any]
) -> tuple[int, int, dict[Collective, Traffic]]:
    """Bytes at rest and at the peak, and traffic of the second step, of real tensors and real collectives."""
    ledger = Ledger(named_groups(ranks))
    with torch.device("meta"):
        made = Transformer(model, VOCABULARY)
    task, at_rest = text_task(made, ranks, ROWS, LENGTH, ledger)
    with as_on_a_gpu(), ledger:
        train(task, LOOP.override(loop), folder, "real", {}, ranks)
    gc.collect()
    return at_rest[-1], ledger.peak, dict(ledger.traffic)


@pytest.mark.parametrize(
    ("model", "config", "loop"),
    [
        (DENSE, {}, {}),
        (DENSE, {"replicate": 2, "accumulate": 2, "reshard_after_forward": False}, {"checkpointing": "selective"}),
        (SPARSE, {"experts": 4}, {"checkpointing": "full", "optimizer": {"muon_learning_rate": 0.0}}),
        (SPARSE, {"experts": 2}, {}),
    ],
    ids=["dense", "copies", "experts", "experts and shards"],
)
def test_a_dry_run_tells_of_a_real_one(
    tmp_path: Path, model: ModelConfig, config: dict[str, Any], loop: dict[str, Any]
) -> None:
    real = run_on(4, real_run, tmp_path, model, loop, **config)
    found = dry_run(model, VOCABULARY, 4, ParallelConfig.model_validate(config), LOOP.override(loop), ROWS, LENGTH)
    at_rest, _, traffic = real[0]
    assert found.weights + found.optimizer == pytest.approx(at_rest, rel=0.01)
    assert found.peak == pytest.approx(sum(peak for _, peak, _ in real) / len(real), rel=0.05)
    assert found.traffic.keys() == traffic.keys()
    for what, expected in traffic.items():
        assert found.traffic[what].calls == expected.calls, what
        if what.kind == "all_to_all" and "experts" in config and what.group == TOKENS[config["experts"]]:
            # Where tokens go differs from rank to rank; the dry run has the mean.
            mean = sum(each[2][what].bytes for each in real) / len(real)
            assert found.traffic[what].bytes == pytest.approx(mean, rel=0.01), what
        else:
            assert found.traffic[what].bytes == expected.bytes, what
    assert Collective("all_gather", "shard") in traffic
    assert (Collective("all_reduce", "replicate") in traffic) == (config.get("replicate") == 2)


def test_weights_and_moments_of_ten_billion_by_hand() -> None:
    """A 64th of 10.2 billion weights: 4 bytes each, 8 for the two moments of AdamW, 4 for Muon's momentum."""
    size = SIZES["10b"].model.override({"num_layers": 2})
    found = dry_run(size, 1000, 64, loop=LOOP.override({"optimizer": {"muon_learning_rate": 0.0}}), length=64)
    matrices = 2 * 12 * 4096**2 + (1000 + 2 * 65) * 4096 + 3 * 16**2 * 4096
    assert found.weights == pytest.approx(matrices * 4 / 64, rel=0.01)
    assert found.optimizer == pytest.approx(2 * found.weights, rel=0.02)
    with_muon = dry_run(size, 1000, 64, loop=LOOP, length=64)
    assert with_muon.optimizer == pytest.approx(found.weights, rel=0.05)
