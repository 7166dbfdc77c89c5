"""The loop on several ranks: same data, micro-batches, clipping, checkpoints for any number of them, a bad loss."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from m6.config import UserError
from m6.data.loader import Steps
from m6.data.packing import Batch, pack
from m6.parallel.clip import clip_gradients
from m6.parallel.fsdp import local, shard
from m6.parallel.mesh import AgreedError, Ranks
from m6.parallel.state import spread_names, whole
from m6.run import read_metrics
from m6.train import loop as loop_module
from m6.train.acceleration import accelerate
from m6.train.loop import NonFiniteLossError, Task, train
from m6.train.pretrain import batch_loss, heldout_batches
from m6.train.window import Figures
from tests.distributed.launch import run_on
from tests.distributed.training import LOOP, Outcome, Samples, alone, assert_same, make_model, make_task, train_small
from tests.unit.data.examples import VOCABULARY, mixed_samples

MUON = {"optimizer.learning_rate": 1e-3, "optimizer.muon_learning_rate": 0.005}
EXPERTS = {"num_experts": 4, "top_k": 2, "ffn_size": 24, "balance": "bias", "z_weight": 0.0}


@pytest.mark.parametrize("config", [{"accumulate": 2}, {"accumulate": 2, "experts": 2}], ids=str)
def test_micro_batches_equal_one_large_batch(tmp_path: Path, config: dict[str, Any]) -> None:
    expected = alone(tmp_path / "single", EXPERTS, MUON)
    found = run_on(2, train_small, tmp_path / "sharded", EXPERTS, MUON, **config)
    assert_same(found[0], expected)


def test_micro_batches_of_one_process_equal_one_large_batch(tmp_path: Path) -> None:
    expected = alone(tmp_path / "whole", EXPERTS, MUON)
    assert_same(alone(tmp_path / "parts", EXPERTS, MUON, accumulate=4), expected)


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (1, 3), (2, 1), (2, 2), (4, 1)])
def test_a_step_is_made_of_the_same_samples_for_any_number_of_ranks(world: int, accumulate: int) -> None:
    """By hand: sample i of a step goes to rank i mod world, in micro-batch (i // world) mod accumulate."""
    for step in (0, 7):
        keys = [sample.key for sample in Samples().samples(step)]
        for rank in range(world):
            steps = Steps(Samples(), VOCABULARY, 8, rank, world, accumulate)  # type: ignore[arg-type]
            for part in range(accumulate):
                mine = [key for i, key in enumerate(keys) if i % world == rank and i // world % accumulate == part]
                assert list(steps[step * accumulate + part].keys) == mine


def clip_and_gather(ranks: Ranks, largest: float) -> tuple[float, dict[str, Tensor]]:
    """The norm before, and the whole gradients after, of a model with spread experts on this rank's samples."""
    model = make_model(**EXPERTS)
    spread = spread_names(model)
    if ranks.joined:
        shard(model, ranks)
    samples = mixed_samples() * 2
    total = torch.tensor(float(pack(samples, VOCABULARY, 8, 64).weights.sum()))
    loss, _ = batch_loss(model, pack(samples[ranks.rank :: ranks.world], VOCABULARY, 8, 64), total, ranks)
    loss.backward()
    named = dict(model.named_parameters())
    norm = clip_gradients(named.values(), largest, ranks)
    found = {}
    for name, weight in named.items():
        assert weight.grad is not None
        found[name] = whole(local(weight.grad), weight, name in spread, ranks)
    return float(norm), found


@pytest.mark.parametrize("largest", [0.5, 100.0])
@pytest.mark.parametrize(
    "config", [{}, {"experts": 4}, {"experts": 2}, {"experts": 2, "replicate": 2}, {"replicate": 4}], ids=str
)
def test_clipping_equals_that_of_one_process(config: dict[str, Any], largest: float) -> None:
    norm, gradients = clip_and_gather(Ranks(), largest)
    for found_norm, found in run_on(4, clip_and_gather, largest, **config):
        assert found_norm == pytest.approx(norm, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)
    assert norm > 0.6
    clipped = nn.utils.get_total_norm(list(gradients.values()))
    assert float(clipped) == pytest.approx(min(norm, largest), rel=1e-4)


def fail_on_rank_one(ranks: Ranks, folder: Path) -> str:
    task = make_task(ranks, EXPERTS)
    sound = task.loss

    def loss(batch: Batch, total: Tensor | None) -> tuple[Tensor, Figures]:
        value, figures = sound(batch, total)
        return (value * float("nan") if ranks.rank == 1 else value), figures

    before = {name: local(weight).clone() for name, weight in task.model.named_parameters()}
    with pytest.raises(NonFiniteLossError) as caught:
        train(replace(task, loss=loss), LOOP.override({"max_skipped": 0}), folder, "test", {}, ranks)
    if ranks.config.replicate == ranks.world:  # whole weights are on every rank
        for name, weight in task.model.named_parameters():
            assert torch.equal(local(weight), before[name]), name
    return str(caught.value)


def test_a_loss_that_is_no_number_on_one_rank_stops_all_before_the_update(tmp_path: Path) -> None:
    lines = run_on(2, fail_on_rank_one, tmp_path, replicate=2)
    assert lines[0] == lines[1]
    assert "step 0: loss nan" in lines[0]
    assert ", ".join(sample.key for sample in Samples().samples(0)[1::2]) in lines[0]
    assert ", ".join(sample.key for sample in Samples().samples(0)[0::2]) not in lines[0]


def disagree(ranks: Ranks) -> str:
    try:
        with ranks.agreed():
            if ranks.rank == 1:
                raise UserError("no such file")
    except AgreedError as error:
        return str(error)
    return "no error"


def test_a_mistake_of_one_rank_is_one_of_all() -> None:
    assert run_on(2, disagree) == ["no such file"] * 2


def metrics_and_heldout(ranks: Ranks, folder: Path) -> list[dict[str, Any]]:
    task: Task[Batch] = make_task(ranks, {})
    steps = Steps(Samples(), VOCABULARY, 8)  # type: ignore[arg-type]
    task.heldout = heldout_batches(steps, 6, ranks)  # four ranks have one or two each
    assert len(task.heldout) == -(-6 // ranks.world)
    train(task, LOOP.override({"heldout_every": 1, "num_steps": 3}), folder, "test", {}, ranks)
    return read_metrics(folder / "metrics.jsonl")


def test_metrics_are_those_of_one_process(tmp_path: Path) -> None:
    expected = metrics_and_heldout(Ranks(), tmp_path / "single")
    found = run_on(4, metrics_and_heldout, tmp_path / "several")[0]
    assert [row["step"] for row in found] == [1, 2, 3]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        same = [name for name in theirs if name == "tokens" or "loss" in name or "norm" in name]
        assert len(same) > 10
        for name in same:
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name


def faster(ranks: Ranks, folder: Path, experts: dict[str, Any], loop: dict[str, Any]) -> Outcome:
    """Compiled without the compiler of the processor, which takes a minute: what is traced is the same."""
    loop_module.accelerate = partial(accelerate, backend="eager")  # type: ignore[attr-defined]
    return train_small(ranks, folder, experts, loop, steps=4)


@pytest.mark.parametrize(
    ("experts", "loop", "config"),
    [
        (EXPERTS, {"checkpointing": "full"}, {"experts": 2}),
        (EXPERTS, {"checkpointing": "selective"}, {"experts": 2, "reshard_after_forward": False}),
        ({}, {"checkpointing": "selective", "compile": True}, {}),
    ],
    ids=str,
)
def test_recomputed_and_compiled_blocks_can_be_sharded(
    tmp_path: Path, experts: dict[str, Any], loop: dict[str, Any], config: dict[str, Any]
) -> None:
    expected = train_small(Ranks(), tmp_path / "single", experts, MUON, steps=4)
    found = run_on(2, faster, tmp_path / "several", experts, MUON | loop, **config)
    assert_same(found[0], expected)


def test_bfloat16_is_gathered_in_bfloat16_and_learns_as_one_process_does(tmp_path: Path) -> None:
    """Weights are rounded on the way instead of before the product: what is multiplied is the same."""
    loop = MUON | {"precision": "bfloat16"}
    expected = train_small(Ranks(), tmp_path / "single", EXPERTS, loop, steps=4)
    found = run_on(2, faster, tmp_path / "several", EXPERTS, loop, experts=2)[0]
    assert {weight.dtype for weight in found.weights.values()} == {torch.float32}
    torch.testing.assert_close(found.losses, expected.losses, atol=5e-3, rtol=0)
