"""Compiled and recomputed blocks learn what plain ones learn; packs of any length share the graphs; refusals."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from m6.config import UserError
from m6.data.packing import pack
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.experts import ffn
from m6.model.experts.router import Choice, Router
from m6.model.masks import block_mask
from m6.model.transformer import Transformer
from m6.train.acceleration import accelerate
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.hardware import choose_device
from m6.train.optimizer import Optimizers
from m6.train.pretrain import batch_loss
from tests.unit.data.examples import VOCABULARY, mixed_samples

CPU = torch.device("cpu")
SIZE = ModelConfig(num_layers=3, hidden_size=32, num_heads=2, ffn_size=64)


def gradients(config: LoopConfig, size: ModelConfig = SIZE) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = Transformer(size, VOCABULARY.size).train()
    accelerate(model, config, CPU)
    batch_loss(model, pack(mixed_samples(), VOCABULARY, 8, 64))[0].backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "experts",
    [{}, {"num_experts": 4, "every": 2}, {"num_experts": 4, "top_k": 2, "capacity_factor": 0.75},
     {"num_experts": 4, "kernel": "loop"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("how", ["selective", "full"])
def test_recomputed_gradients_are_the_same_to_the_bit(how: str, experts: dict[str, Any]) -> None:
    size = SIZE.model_copy(update={"experts": ExpertsConfig(**experts)})
    expected = gradients(LoopConfig(), size)
    found = gradients(LoopConfig(checkpointing=how), size)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("experts", [{}, {"num_experts": 4, "kernel": "loop"}], ids=str)
def test_selective_computes_no_product_twice_and_full_all_of_them(experts: dict[str, Any]) -> None:
    """PyTorch counts products on both ways: 1 forward, 2 back, and 1 more for what is recomputed."""
    size = SIZE.model_copy(update={"experts": ExpertsConfig(**experts)})
    totals = {}
    for how in ("none", "selective", "full"):
        with FlopCounterMode(display=False) as counter:
            gradients(LoopConfig(checkpointing=how), size)
        totals[how] = counter.get_total_flops()
    assert totals["selective"] == totals["none"]
    assert totals["full"] > 1.1 * totals["none"]  # the output layer and the loss are not recomputed


def test_grouped_products_of_experts_are_kept_by_selective_and_done_again_by_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two on the way there and four back in each of three layers; full does the two once more."""
    done: list[int] = []
    product = ffn.GROUPED_MM

    def counted(*given: Any, **named: Any) -> Tensor:
        done.append(1)
        found: Tensor = product(*given, **named)
        return found

    monkeypatch.setattr(ffn, "GROUPED_MM", counted)
    size = SIZE.model_copy(update={"experts": ExpertsConfig(num_experts=4, kernel="grouped")})
    counts = []
    for how in ("none", "selective", "full"):
        done.clear()
        gradients(LoopConfig(checkpointing=how), size)
        counts.append(len(done))
    assert counts == [18, 18, 24]


class Made(TorchDispatchMode):
    """The storages that operations make, each once, by whatever they are kept or let go."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(given):
            if isinstance(tensor, Tensor):
                self.seen[StorageWeakRef(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return given

    def alive(self) -> int:
        gc.collect()
        return sum(size for storage, size in self.seen.items() if not storage.expired())


def kept_bytes(how: str, size: ModelConfig = SIZE) -> int:
    """What of the forward is still there when the way back begins."""
    torch.manual_seed(0)
    model = Transformer(size, VOCABULARY.size).train()
    accelerate(model, LoopConfig(checkpointing=how), CPU)
    with Made() as made:
        loss, _ = batch_loss(model, pack(4 * mixed_samples(), VOCABULARY, 8, 64))
    assert loss.requires_grad
    return made.alive()


def test_full_keeps_least_and_selective_less_than_all() -> None:
    none, selective, full = (kept_bytes(how) for how in ("none", "selective", "full"))
    assert full < 0.6 * selective
    assert selective < 0.8 * none


def test_what_experts_keep_is_forgotten_too() -> None:
    """Beside what all three keep, full keeps nothing as wide as an expert: four times the width here, two choices."""
    experts = ExpertsConfig(num_experts=4, top_k=2)
    size = ModelConfig(num_layers=3, hidden_size=32, num_heads=2, ffn_size=256, experts=experts)
    none, selective, full = (kept_bytes(how, size) for how in ("none", "selective", "full"))
    assert full < 0.4 * selective
    assert selective < 0.8 * none


@pytest.mark.parametrize("how", ["selective", "full"])
def test_a_router_chooses_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts its load once, which balancing by bias goes by."""
    chosen: list[int] = []
    choose = Router.forward

    def counted(*given: Any) -> Choice:
        chosen.append(1)
        return choose(*given)

    monkeypatch.setattr(Router, "forward", counted)
    loads = {}
    for each in ("none", how):
        torch.manual_seed(0)
        experts = ExpertsConfig(num_experts=4, balance="bias", capacity_factor=0.75)
        model = Transformer(SIZE.model_copy(update={"experts": experts}), VOCABULARY.size).train()
        accelerate(model, LoopConfig(checkpointing=each), CPU)
        batch_loss(model, pack(mixed_samples(), VOCABULARY, 8, 64))[0].backward()
        loads[each] = torch.stack([layer.router.pending for layer in model.experts().values()])
    assert len(chosen) == 2 * SIZE.num_layers
    assert torch.equal(loads["none"], loads[how])


@pytest.mark.parametrize("with_experts", [False, True])
def test_packs_of_any_length_are_compiled_once(with_experts: bool) -> None:
    """Rows, their length, samples in a row and labels all change, and rows are at times as long as the model is wide;
    loss and gradients are those of plain blocks. Packs of one row, and looks without a gradient, are compiled once
    more each."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    experts = ExpertsConfig(num_experts=4 if with_experts else 1, every=2)
    size = ModelConfig(num_layers=3, hidden_size=64, num_heads=2, ffn_size=96, experts=experts)
    model = Transformer(size, VOCABULARY.size).train()
    plain = Transformer(size, VOCABULARY.size).train()
    plain.load_state_dict(model.state_dict())
    accelerate(model, LoopConfig(compile=True), CPU, backend="eager")
    graphs = torch._dynamo.utils.counters["stats"]
    before, made, shapes = graphs["unique_graphs"], [], []
    samples = mixed_samples()
    for count, row_length in ((4, 64), (4, 96), (3, 128), (2, 64), (5, 0)):
        batch = pack(count * samples[: count + 2], VOCABULARY, 8, row_length)
        losses = [batch_loss(one, batch)[0] for one in (model, plain)]
        torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
        for loss in losses:
            loss.backward()
        made.append(graphs["unique_graphs"] - before)
        shapes.append((*batch.ids.shape, int(batch.sample.max()), len(batch.labels)))
    assert all(len(set(numbers)) > 2 for numbers in zip(*shapes, strict=True)), shapes
    assert made[-1] == made[0] > 0, made
    assert 64 in shapes[0], shapes
    for rows in ((1, 96), (2, 200), (1, 64)):
        batch = pack(rows[0] * samples[: rows[0] + 2], VOCABULARY, 8, rows[1])
        assert len(batch.ids) == 1
        batch_loss(model, batch)[0].backward()
        batch_loss(plain, batch)[0].backward()
        made.append(graphs["unique_graphs"] - before)
    for count, row_length in ((4, 64), (3, 128), (2, 64), (1, 64)):
        with torch.no_grad():
            batch_loss(model.eval(), pack(count * samples[: count + 2], VOCABULARY, 8, row_length))
        model.train()
        made.append(graphs["unique_graphs"] - before)
    assert made == [made[0]] * 5 + [2 * made[0]] * 3 + [3 * made[0]] * 3 + [4 * made[0]], made
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("how", ["none", "selective", "full"])
def test_block_masks_of_any_pack_are_compiled_once_recomputed_or_not(how: Literal["none", "selective", "full"]) -> None:
    """The masks of CUDA, whose attention has no way back on a CPU: forward alone. More layers than the compiler would
    take apart before it gives up."""
    torch._dynamo.reset()
    model = Transformer(SIZE.model_copy(update={"num_layers": 10}), VOCABULARY.size).train()
    accelerate(model, LoopConfig(compile=True, checkpointing=how), CPU, backend="eager")
    graphs = torch._dynamo.utils.counters["stats"]
    before, made = graphs["unique_graphs"], []
    for row_length in (160, 192, 256):  # blocks are of 128; a single one would be a graph of its own
        batch = pack(8 * mixed_samples(), VOCABULARY, 8, row_length)
        mask = block_mask(batch.sample, batch.branch, batch.causal)
        with torch.no_grad():
            model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at, at=batch.label_at)
        made.append(graphs["unique_graphs"] - before)
    assert made == [2, 2, 2]  # the last block stands apart: it goes on with the places of labels alone


def test_8_bit_states_need_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OptimizerConfig(states="8bit")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "torchao.optim", None)
        with pytest.raises(UserError, match=r"needs torchao: pip install 'open-m6\[fast\]'"):
            Optimizers(nn.Linear(64, 128), config, 10)


def test_8_bit_states_come_without_notices() -> None:
    pytest.importorskip("torchao")
    code = "from m6.train.optimizer import adamw_8bit; adamw_8bit()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_8_bit_states_go_on_from_a_checkpoint_and_learn_as_float32_ones_do(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    batch = pack(mixed_samples(), VOCABULARY, 8, 64)

    def updated(states: Literal["float32", "8bit"], stop_at: int = 0) -> tuple[float, Transformer]:
        """The loss after eight updates; with a stop, the rest is done by a fresh model and optimizer."""
        torch.manual_seed(0)
        config = OptimizerConfig(states=states, muon_learning_rate=0.0)
        model = Transformer(SIZE, VOCABULARY.size)
        optimizers = Optimizers(model, config, 8)
        for step in range(8):
            if step == stop_at > 0:
                with Checkpoints(tmp_path, model, optimizers, LoopConfig(), {}) as saved:
                    saved.save(step)
                model = Transformer(SIZE, VOCABULARY.size)
                optimizers = Optimizers(model, config, 8)
                assert Checkpoints(tmp_path, model, optimizers, LoopConfig(), {}).resume() == step
            batch_loss(model, batch)[0].backward()
            optimizers.clip()
            optimizers.step(step)
        return float(batch_loss(model, batch)[0]), model

    unbroken, whole = updated("8bit")
    resumed, again = updated("8bit", stop_at=4)
    assert resumed == unbroken
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), again.parameters(), strict=True))
    assert unbroken == pytest.approx(updated("float32")[0], rel=0.02)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoopConfig(float8=True), r"loop\.float8 needs an NVIDIA GPU of the Hopper kind or newer, this device is cpu"),
        (LoopConfig(compile=True), r"loop\.compile is for the transformer; Linear has no blocks"),
    ],
)
def test_what_cannot_be_done_is_one_line(config: LoopConfig, message: str) -> None:
    model = Transformer(SIZE, 10) if config.float8 else nn.Linear(2, 2)
    with pytest.raises(UserError, match=message):
        accelerate(model, config, CPU)


def test_cuda_where_there_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UserError, match=r"loop\.device is 'cuda', but this PyTorch finds no CUDA device"):
        choose_device("cuda")
