"""Formulas of a plan against cases worked by hand, what autograd keeps, and what PyTorch counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from m6.config import UserError
from m6.data.packing import LENGTH_MULTIPLE
from m6.model.config import ModelConfig
from m6.model.flops import forward_flops, parameters
from m6.model.sizes import SIZES
from m6.parallel.config import ParallelConfig
from m6.parallel.plan import job as job_module
from m6.parallel.plan.choose import Choice, Wish, choose, divisors, jobs, leanest, remedies
from m6.parallel.plan.hardware import GPU, GPUS, SOURCES, Efficiency
from m6.parallel.plan.job import Job
from m6.parallel.plan.memory import LOGITS, kept, memory, optimizer, weights
from m6.parallel.plan.time import NEWTON_SCHULZ, flow_seconds, inside, step_time, turn_flops
from m6.parallel.plan.traffic import MUON_ELEMENTS, Flow, Turn, flows, turns
from m6.train.cross_entropy import CHUNK_ELEMENTS
from m6.train.hardware import DATASHEET
from m6.train.optimizer import ELEMENTS_AT_ONCE, orthogonalize
from tests.unit.parallel.activations import LENGTH, ROWS, VOCABULARY, after_forward

SMALL = ModelConfig(num_layers=2, hidden_size=8, num_heads=2, ffn_size=32, patch_size=2, max_side=5)
SPARSE = SMALL.override({"experts": {"num_experts": 4, "every": 2, "ffn_size": 16}})
TOY = GPU(memory_gib=1, tflops=1, memory_bandwidth=1, node_bandwidth=2, network_bandwidth=0.5)
EXACTLY = Efficiency(mfu=1.0, link_share=1.0, hidden=1.0, latency=0.0, hop=0.0)


def test_constants_are_those_of_the_training() -> None:
    """They are repeated, since what they belong to loads torch."""
    assert MUON_ELEMENTS == ELEMENTS_AT_ONCE
    assert CHUNK_ELEMENTS["cuda"] == LOGITS
    assert job_module.LENGTH_MULTIPLE == LENGTH_MULTIPLE
    for name, kind in {"a100-40g": "A100", "a100-80g": "A100", "h100": "H100", "h200": "H200"}.items():
        assert GPUS[name].tflops * 1e12 == DATASHEET[kind]
    assert GPUS.keys() == SOURCES.keys()


def test_weights_and_optimizer_by_hand() -> None:
    """Two ranks. Of a block: qkv 24 x 8, out 8 x 8, up 32 x 8, down 8 x 32, two norms. Outside: 10 entries, twice 6
    sides, patches of 12 numbers, a norm. All of it divides by two."""
    block = 24 * 8 + 8 * 8 + 2 * 32 * 8
    total = 2 * (block + 2 * 8) + 10 * 8 + 2 * 6 * 8 + 12 * 8 + 8
    assert total == sum(parameters(SMALL, 10).values())
    job = Job(SMALL, 10, 2)
    assert weights(job) == 4 * total / 2
    assert optimizer(job) == 8 * (total - 2 * block) / 2 + 4 * 2 * block / 2
    assert optimizer(replace(job, muon=False)) == 8 * total / 2


def test_a_side_that_does_not_divide_is_filled_up() -> None:
    """On four ranks ten entries are three each, and six sides, twice, are two each."""
    alone, four = (Job(SMALL, 10, world, muon=False) for world in (1, 4))
    assert 4 * weights(four) - weights(alone) == 4 * (2 + 2 * 2) * 8


def test_flows_by_hand() -> None:
    """Two copies of two ranks, two micro-batches, AdamW."""
    block, norms = 24 * 8 + 8 * 8 + 2 * 32 * 8, 2 * 8
    root = 10 * 8 + 2 * 6 * 8 + 12 * 8 + 8
    job = Job(SMALL, 10, 4, ParallelConfig(replicate=2, accumulate=2), rows=1, length=32, muon=False)
    found = {(flow.kind, flow.axis): flow for flow in flows(job)}
    assert found.keys() == {("all_gather", "shard"), ("reduce_scatter", "shard"), ("all_reduce", "replicate")}
    gathers, scatters, sums = found.values()
    assert gathers.bytes == 2 * (2 * 2 * (2 * block + 4 * norms) + 4 * root)
    assert scatters.bytes == 2 * 4 * (2 * block + 2 * norms + root)
    assert sums.bytes == 4 * (2 * block + 2 * norms + root) / 2
    assert (gathers.calls, scatters.calls, sums.calls) == (2 * (2 * 2 * 2 + 1), 2 * 5, 5)
    assert (gathers.wire, sums.wire) == (gathers.bytes / 2, sums.bytes)


def test_tokens_travel_four_times_and_matrices_twice() -> None:
    """Two groups of experts on two ranks, one layer with experts; top-1 of 64 tokens."""
    job = Job(SPARSE, 10, 2, ParallelConfig(experts=2), rows=2, length=32)
    found = {(flow.kind, flow.axis): flow for flow in flows(job)}
    tokens, muon = found["all_to_all", "experts"], found["all_to_all", "shard"]
    assert (tokens.bytes, tokens.calls) == (4 * 2 * 64 * 8 + 8 * 4, 5)
    # qkv and out of two layers, one for each rank; up and down of one, which rank 0 turns: sent, and sent back.
    sent = 2 * 12 * 8 + 2 * 4 * 8 + 16 * 8 + 4 * 32
    assert (muon.bytes, muon.calls) == (4 * (sent + 24 * 8 + 8 * 8 + 2 * 32 * 8), 8)


def test_muon_turns_by_count_and_by_bound() -> None:
    big = SMALL.override({"hidden_size": 4096, "ffn_size": 16_384, "num_heads": 32, "num_layers": 5})
    found = list(turns(Job(big, 10, 8)))
    assert Turn(12_288, 4096, "shard", 8, 5, 1) in found
    assert Turn(16_384, 4096, "shard", 8, 4, 1) in found  # 2**25 numbers of a rank are four of these
    assert Turn(16_384, 4096, "shard", 8, 1, 1) in found
    assert not list(turns(Job(big, 10, 8, muon=False)))


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (16, 48), (64, 16)])
def test_flops_of_muon_are_those_that_pytorch_counts(rows: int, columns: int) -> None:
    with FlopCounterMode(display=False) as counter:
        orthogonalize(torch.randn(1, rows, columns))
    short, long = sorted((rows, columns))
    wide, square = NEWTON_SCHULZ
    assert counter.get_total_flops() == wide * short**2 * long + square * short**3


def test_the_rank_with_most_matrices_is_the_one_that_counts() -> None:
    """Three ranks turn two matrices of each of four shapes as fast as one turns one of each."""
    shapes = ((24, 8), (8, 8), (32, 8), (8, 32))
    one = sum(4 * min(s) ** 2 * max(s) + 34 * min(s) ** 3 for s in shapes)
    assert turn_flops(Job(SMALL, 10, 3)) == one
    assert turn_flops(Job(SMALL, 10, 1)) == 2 * one


def test_seconds_by_hand() -> None:
    """1 TFLOP/s, 1 GB/s of memory, 2 GB/s in a node, 0.5 between nodes; four ranks in two nodes."""
    job = Job(SMALL, 10, 4, rows=3, length=32, muon=False, checkpointing="full")
    forward = forward_flops(SMALL, 10, tokens=96, labels=96, pairs=3 * 32 * 33 / 2)
    found = step_time(job, TOY, EXACTLY, 2)
    assert found.products == pytest.approx(3 * sum(forward.values()) / 1e12)
    assert found.again == pytest.approx((sum(forward.values()) - forward["output"]) / 1e12)
    moved = {flow.kind: flow.bytes * 3 / 4 for flow in flows(job)}
    assert found.weights == pytest.approx(sum(moved.values()) / 1e9)  # two cards at once: 2 x 0.5 GB/s
    assert found.update == pytest.approx(10 * weights(job) / 1e9)
    assert found.tokens == 0
    assert found.seconds == pytest.approx(max(found.products + found.again, found.weights) + found.update)
    assert found.in_turn == pytest.approx(found.products + found.again + found.weights + found.update)
    partly = step_time(job, TOY, EXACTLY.override({"hidden": 0.5}), 2)
    assert partly.seconds == pytest.approx((found.seconds + found.in_turn) / 2)
    waiting = step_time(job, TOY, EXACTLY.override({"latency": 1.0, "hop": 0.1}), 2)
    assert waiting.weights == pytest.approx(found.weights + 1.3 * sum(flow.calls for flow in flows(job)))


def test_an_all_to_all_leaves_the_node_by_its_own_card() -> None:
    """Of four ranks in two nodes: a fourth of the bytes within the node, a half over the card, at the same time."""
    flow = Flow("all_to_all", "experts", 4, 4e9, 1)
    job = Job(SPARSE, 10, 4, ParallelConfig(experts=4))
    assert flow_seconds(flow, job, TOY, EXACTLY, 2) == pytest.approx(2 / 0.5)
    assert flow_seconds(flow, job, TOY, EXACTLY, 4) == pytest.approx(3 / 2)


@pytest.mark.parametrize(
    ("axis", "per_node", "expected"),
    [("shard", 8, 8), ("replicate", 8, 1), ("replicate", 32, 2), ("experts", 8, 4), ("expert_shard", 8, 2)],
)
def test_ranks_of_a_group_in_a_node(axis: str, per_node: int, expected: int) -> None:
    """Two copies of 16 ranks, four groups of experts."""
    assert inside(axis, Job(SPARSE, 10, 32, ParallelConfig(replicate=2, experts=4)), per_node) == expected


WIDE = ModelConfig(num_layers=2, hidden_size=128, num_heads=4, ffn_size=512)


@pytest.mark.parametrize("how", ["none", "selective", "full"])
def test_activations_are_what_is_there_when_the_way_back_begins(how: Literal["none", "selective", "full"]) -> None:
    """Two layers more, so that what lies outside of blocks does not count."""
    job = Job(WIDE, VOCABULARY, 1, rows=ROWS, length=LENGTH, checkpointing=how)
    more, less = (after_forward(WIDE.override({"num_layers": layers}), how) for layers in (4, 2))
    planned = 2 * job.tokens * kept(job, 0)
    assert planned == pytest.approx(more[0] - less[0], rel=0.02)
    if how == "none":
        assert planned == pytest.approx(more[1] - less[1], rel=0.02)


def test_gradients_of_earlier_micro_batches_are_there() -> None:
    one, two = (memory(Job(WIDE, 50, 4, ParallelConfig(accumulate=count), length=32, muon=False)) for count in (1, 2))
    assert two.tensors > one.tensors
    assert two.gradients == pytest.approx(two.weights)


def wish(**changes: Any) -> Wish:
    return replace(Wish(SIZES["10b"].model, 21_128, 64, GPUS["a100-80g"], samples=512), **changes)


def test_the_choice_is_the_fastest_of_all_that_fit() -> None:
    asked = wish()
    best = choose(asked)[0]
    every = [Choice(asked, job) for job in jobs(asked)]
    assert best.time.seconds == min(each.time.seconds for each in every if each.fits)
    assert any(not each.fits for each in every)
    assert {each.job.axes for each in every} == {(64 // shard, shard, 1) for shard in divisors(64)}
    assert {each.job.checkpointing for each in every} == {"none", "selective", "full"}
    for each in every:
        assert each.job.rows * each.job.parallel.accumulate * 64 == 512


def test_what_is_named_is_left_as_it_is() -> None:
    asked = wish(named={"replicate": 4, "accumulate": 2, "reshard_after_forward": 1}, checkpointing="full")
    (only,) = choose(asked, 5)
    assert only.job.axes == (4, 16, 1)
    assert (only.job.rows, only.job.parallel.accumulate, only.job.checkpointing) == (4, 2, "full")


def test_experts_go_where_they_can_be_divided() -> None:
    """Six experts on eight ranks: one, two or six groups would have to divide the ranks; each expert's rows do."""
    asked = Wish(SPARSE.override({"experts.num_experts": 6}), 10, 8, GPUS["h100"], samples=8)
    assert {job.axes.experts for job in jobs(asked)} == {1, 2}


def test_what_would_fit_where_nothing_does() -> None:
    asked = wish(world=1, per_node=1, samples=16)
    assert not choose(asked)
    assert not leanest(asked).fits
    found = remedies(asked)
    assert found
    assert all(choice.fits for choice in found.values())
    (more,) = [choice for words, choice in found.items() if words.startswith("--gpus")]
    assert more.wish.world == 2  # 10.2 billion weights of 12 bytes with Muon are 114 GiB
    assert "--checkpointing full" in remedies(wish(world=4, per_node=4, samples=64, checkpointing="none", rows=16))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"named": {"replicate": 3}}, "--parallel.replicate 3 does not divide the 64 GPUs"),
        ({"named": {"replicate": 4, "shard": 8}}, "--parallel.replicate 4 --parallel.shard 8: no mesh of 64 GPUs"),
        ({"named": {"experts": 2}}, "--parallel.experts 2: this model has no experts"),
        ({"named": {"accumulate": 3}}, "--parallel.accumulate 3 does not divide the 8 samples"),
        ({"rows": 3}, "--rows 3 does not divide the 8 samples"),
        ({"samples": 100}, "--samples-per-step 100 cannot be divided among 64 GPUs"),
    ],
)
def test_what_does_not_divide_is_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        choose(wish(**changes))
