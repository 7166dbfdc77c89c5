"""The plan's formulas: by hand, against what autograd really keeps, and against dry runs of the training code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from m6.config import UserError
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.sizes import SIZES
from m6.model.transformer import Transformer
from m6.parallel.config import ParallelConfig
from m6.parallel.ledger import Collective
from m6.parallel.plan.choose import Wish, choose, enough, fits, jobs
from m6.parallel.plan.hardware import GPU, GPUS, find
from m6.parallel.plan.job import Job, Unit
from m6.parallel.plan.memory import kept, memory, optimizer, weights
from m6.parallel.plan.time import assumed_mfu, seconds
from m6.parallel.plan.traffic import by_group, flows
from m6.train.config import LoopConfig
from m6.train.dry_run import dry_run

SMALL = ModelConfig(num_layers=2, hidden_size=8, num_heads=2, ffn_size=16, max_side=4, patch_size=2)


def test_weights_of_a_small_model_by_hand() -> None:
    """Three ranks: rows are filled up to a multiple of three."""
    job = Job(SMALL, 10, 3)
    own = {"qkv": 8 * 8, "out": 3 * 8, "up": 6 * 8, "down": 3 * 16, "norm": 3}
    of_block = own["qkv"] + own["out"] + own["up"] + own["down"] + 2 * own["norm"]
    of_root = 4 * 8 + 2 * (2 * 8) + 3 * 12 + own["norm"]  # 10 words, 5 rows and 5 columns, 3 x 2 x 2 of a patch
    assert weights(job) == 4 * (2 * of_block + of_root)
    moments = 2 * (2 * of_block + of_root) - 2 * (of_block - 2 * own["norm"])  # Muon has one for matrices
    assert optimizer(job) == 4 * moments


def test_a_unit_is_divided_by_its_side() -> None:
    assert Unit(((5, 4, 6),), 2, 2).own == 3 * 4 * 6
    assert Unit(((5, 4, 6),), 2, 2, side=1).own == 5 * 2 * 6
    assert Unit(((5, 4, 6),), 2, 2).whole == 6 * 4 * 6


def test_traffic_of_a_small_model_by_hand() -> None:
    """Two ranks, two micro-batches, all sides even: what is gathered is the model itself."""
    parallel = ParallelConfig(accumulate=2)
    found = {(flow.kind, flow.axis): flow for flow in flows(Job(SMALL, 10, 2, parallel, muon=False))}
    matrices, norms = 2 * (24 * 8 + 8 * 8 + 2 * 16 * 8), 2 * 2 * 8
    root = (10 + 2 * 6 + 12 + 1) * 8  # 5 sides are filled up to 6
    gathered = 2 * (2 * (2 * matrices + 4 * norms) + 4 * root)  # blocks twice, in both micro-batches
    assert found["all_gather", "shard"].bytes == gathered
    assert found["all_gather", "shard"].calls == 2 * (2 * 4 + 1)
    assert found["reduce_scatter", "shard"].bytes == 2 * 4 * (matrices + norms + root)
    assert found["all_gather", "shard"].wire == gathered / 2
    assert set(found) == {("all_gather", "shard"), ("reduce_scatter", "shard")}


JOBS: list[tuple[str, dict[str, Any], int, dict[str, Any], dict[str, Any], int]] = [
    ("10b", {"num_layers": 4}, 8, {}, {}, 4),
    ("10b", {"num_layers": 4}, 64, {"replicate": 8}, {"checkpointing": "full"}, 16),
    ("base", {"num_layers": 6}, 8, {"accumulate": 2, "reshard_after_forward": False}, {}, 16),
    ("base", {"num_layers": 6}, 8, {"accumulate": 2}, {"checkpointing": "selective"}, 16),
    ("100b", {"num_layers": 4}, 128, {"experts": 128}, {}, 8),
    ("100b", {"num_layers": 4}, 128, {"experts": 32}, {"checkpointing": "full"}, 8),
    ("m6t-1.4b", {"num_layers": 3}, 64, {"experts": 4}, {"optimizer": {"muon_learning_rate": 0.0}}, 8),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "world", "parallel", "loop", "rows"), JOBS, ids=str)
def test_formulas_tell_what_a_dry_run_does(
    name: str, change: dict[str, Any], world: int, parallel: dict[str, Any], loop: dict[str, Any], rows: int
) -> None:
    """The traffic to the byte, what stays to 1 %, the peak to 10 %."""
    size, mesh, config = SIZES[name], ParallelConfig.model_validate(parallel), LoopConfig().override(loop)
    model = size.model.override(change)
    found = dry_run(model, size.vocab_size, world, mesh, config, rows=rows, length=512)
    muon = config.optimizer.muon_learning_rate > 0
    job = Job(model, size.vocab_size, world, mesh, rows, 512, config.checkpointing, muon)
    for (kind, axis), flow in by_group(job).items():
        sent = found.traffic.pop(Collective(kind, axis))
        assert (flow.calls, flow.bytes) == (sent.calls, sent.bytes), flow
    assert all(what.kind == "all_reduce" and sent.bytes < 2**17 for what, sent in found.traffic.items())
    assert weights(job) == pytest.approx(found.weights, rel=0.01)
    assert optimizer(job) == pytest.approx(found.optimizer, rel=0.01)
    assert memory(job).tensors == pytest.approx(found.peak, rel=0.1)


def saved_bytes(model: Transformer, rows: int, length: int) -> int:
    """What autograd keeps of a forward in bfloat16, each storage once, but for weights."""
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    seen: dict[int, int] = {}
    alive = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            seen[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    ids = torch.zeros(rows, length, dtype=torch.int64)
    position = torch.zeros(rows, length, 3, dtype=torch.int32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        model(ids, position, None)
    return sum(seen.values())


@pytest.mark.parametrize("experts", [{}, {"num_experts": 4, "top_k": 2, "ffn_size": 192}], ids=str)
def test_activations_are_those_that_autograd_keeps(experts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two layers more, so that what lies beside the layers counts in neither."""
    monkeypatch.setattr("m6.model.experts.dispatch.rows_multiple", lambda slots, experts: 1)
    given = ExpertsConfig.model_validate(experts)
    found = []
    for layers in (2, 4):
        size = ModelConfig(num_layers=layers, hidden_size=96, num_heads=3, ffn_size=384, experts=given)
        torch.manual_seed(0)
        model = Transformer(size, 50).train()
        found.append(saved_bytes(model, 8, 256))
    job = Job(size, 50, 1, rows=8, length=256)
    cast = 2 * sum(weight.numel() for block in model.blocks[:2] for weight in block.parameters())  # kept by autocast
    assert job.tokens * 2 * kept(job, 0) == pytest.approx(found[1] - found[0] - cast, rel=0.05)


def test_seconds_by_hand() -> None:
    """One GPU of a TFLOP/s, half of which products reach; and two that exchange over a network."""
    gpu = GPU(memory_gib=1, tflops=1, memory_gb_per_s=1, link_gb_per_s=2, network_gb_per_s=1, per_node=1)
    alone = seconds(Job(SMALL, 10, 1, length=4, muon=False), gpu, 0.5)
    # Of a token: 8 D^2 + 4 D F weights twice, pairs of 2.5 keys, the output; forward and twice as much back.
    flops = 3 * 4 * (2 * 2 * (4 * 64 + 2 * 128) + 2 * 2 * 2 * 2.5 * 8 + 2 * 10 * 8)
    assert alone.products == pytest.approx(flops / 0.5e12)
    assert alone.step == pytest.approx(alone.products + alone.update)
    job = Job(SMALL, 10, 2, length=4, muon=False)
    two = seconds(job, gpu, 0.5)
    assert two.gathers == pytest.approx(sum(flow.wire for flow in flows(job)) / 1e9)
    assert two.step == pytest.approx(two.gathers + 0.1 * two.products + two.update)


def wish(name: str, gpus: int, gpu: str, **given: Any) -> Wish:
    size = SIZES[name]
    return Wish(size.model, size.vocab_size, gpus, GPUS[gpu], assumed_mfu(size.model), **given)


def test_what_is_chosen_fits_and_nothing_that_fits_is_faster() -> None:
    asked = wish("10b", 16, "a100-80g")
    found, fitting = choose(asked)
    assert fitting
    assert fits(found, asked.gpu)
    assert found.tokens_per_step <= asked.tokens_per_step
    for job in jobs(asked):
        if memory(job).device <= asked.gpu.memory_gib * 2**30:
            tokens = job.tokens * job.parallel.accumulate * job.world
            assert tokens / seconds(job, asked.gpu, asked.mfu).step <= found.tokens_per_second * 1.002


def test_what_does_not_fit_says_what_would() -> None:
    asked = wish("100b", 8, "h100")
    found, fitting = choose(asked)
    assert not fitting
    assert not fits(found, asked.gpu)
    gpus = enough(asked)
    assert gpus is not None
    assert choose(wish("100b", gpus, "h100"))[1]
    assert not choose(wish("100b", gpus // 2, "h100"))[1]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"experts": 3}, "no mesh of 8 GPUs has replicate any and experts 3"),
        ({"replicate": 5}, "replicate 5 and experts"),
    ],
    ids=str,
)
def test_a_mesh_that_cannot_be_is_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        choose(wish("m6t-1.4b", 8, "h100", **given))


def test_a_gpu_of_ones_own() -> None:
    with pytest.raises(UserError, match="no GPU 'h10', did you mean 'h100'"):
        find("h10")
    with pytest.raises(UserError, match=r"--gpu: no file mine\.json"):
        find("mine.json")
