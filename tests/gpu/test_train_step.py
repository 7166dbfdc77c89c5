"""The step on a GPU: it learns what the CPU learns, goes on from a checkpoint, and each option keeps the loss. Skipped
without one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch

from m6.config import UserError
from m6.data.loader import to_device
from m6.data.packing import Batch, pack
from m6.model.config import ModelConfig
from m6.model.transformer import Transformer
from m6.run import read_metrics
from m6.train.acceleration import accelerate
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.cross_entropy import linear_cross_entropy
from m6.train.loop import NonFiniteLossError, Task, train
from m6.train.optimizer import Optimizers, orthogonalize
from m6.train.pretrain import batch_loss, muon_matrices
from m6.train.throughput import batch_counts
from m6.train.window import Figures
from tests.unit.data.examples import VOCABULARY, mixed_samples

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CUDA = torch.device("cuda")
SIZE = ModelConfig(num_layers=2, hidden_size=128, num_heads=4, ffn_size=256)


def task(spoil: Callable[[int], float] = lambda number: 1.0) -> Task[Batch]:
    torch.manual_seed(0)
    model = Transformer(SIZE, VOCABULARY.size)
    numbers = iter(range(10**6))

    def batches(start: int, stop: int, workers: int) -> Iterator[Batch]:
        return (pack(mixed_samples()[step % 2 :], VOCABULARY, 8, 128) for step in range(start, stop))

    def loss(batch: Batch, total: torch.Tensor | None) -> tuple[torch.Tensor, Figures]:
        value, figures = batch_loss(model, batch, total)
        return value * spoil(next(numbers)), figures

    return Task(
        model=model,
        loss=loss,
        batches=batches,
        counts=lambda batch: batch_counts(batch, SIZE, VOCABULARY),
        weight=lambda batch: batch.weights.sum(),
        describe=lambda batch: batch.keys,
        matrices=muon_matrices(model),
        move=to_device,
    )


def losses(folder: Path, **changes: object) -> torch.Tensor:
    config = LoopConfig(num_steps=20, log_every=1, checkpoint_every=10).model_copy(update=changes)
    train(task(), config, folder, "test", {})
    return torch.tensor([row["loss"] for row in read_metrics(folder / "metrics.jsonl")])


def test_cuda_learns_as_the_cpu_does(tmp_path: Path) -> None:
    expected = losses(tmp_path / "cpu", device="cpu", precision="float32")
    found = losses(tmp_path / "cuda")
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0)
    row = read_metrics(tmp_path / "cuda" / "metrics.jsonl")[-1]
    assert 0 < row["mfu"] < 1
    assert 0 < row["peak_memory_gib"] < 10


def test_a_resumed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    """Sums on a GPU come in no fixed order, so the two agree closely, not to the bit."""
    steady = {"optimizer": OptimizerConfig(schedule=((0.0, 1.0), (1.0, 1.0)))}
    whole = losses(tmp_path / "whole", **steady)
    losses(tmp_path / "cut", num_steps=10, **steady)
    torch.testing.assert_close(losses(tmp_path / "cut", **steady), whole, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "changes", [{"compile": True}, {"checkpointing": "selective"}, {"checkpointing": "full"},
                {"compile": True, "checkpointing": "selective"}], ids=str,
)  # fmt: skip
def test_options_keep_the_loss(tmp_path: Path, changes: dict[str, object]) -> None:
    expected = losses(tmp_path / "plain")
    torch.testing.assert_close(losses(tmp_path / "option", **changes), expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("how", ["none", "selective", "full"])
def test_packs_of_any_length_are_compiled_once(how: Literal["none", "selective", "full"]) -> None:
    torch._dynamo.reset()
    model = Transformer(SIZE, VOCABULARY.size).to(CUDA).train()
    accelerate(model, LoopConfig(compile=True, checkpointing=how), CUDA)
    made = []
    for row_length in (160, 192, 224, 256):  # a single block of 128 would be a graph of its own
        batch = to_device(pack(4 * mixed_samples(), VOCABULARY, 8, row_length), CUDA)
        with torch.autocast("cuda", torch.bfloat16):
            batch_loss(model, batch)[0].backward()
        made.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert made[-1] == made[0] > 0, made


@pytest.mark.parametrize("num_experts", [1, 4])
def test_a_step_never_waits_for_the_device(num_experts: int) -> None:
    """PyTorch raises at whatever would wait, once buffers and kernels are there."""
    model = Transformer(SIZE.override({"experts.num_experts": num_experts}), VOCABULARY.size).to(CUDA).train()
    optimizers = Optimizers(model, OptimizerConfig(), 10, muon_matrices(model))
    batch = to_device(pack(4 * mixed_samples(), VOCABULARY, 8, 160), CUDA)
    for step in range(3):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error" if step == 2 else "default")
        try:
            with torch.autocast("cuda", torch.bfloat16):
                loss, _ = batch_loss(model, batch)
            loss.backward()
            optimizers.clip()
            optimizers.step(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_float8_learns_on_hopper_and_is_refused_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    if torch.cuda.get_device_capability() < (9, 0):
        with pytest.raises(UserError, match=r"loop\.float8 needs"):
            losses(tmp_path, float8=True)
    else:
        expected = losses(tmp_path / "plain")
        torch.testing.assert_close(losses(tmp_path / "float8", float8=True), expected, rtol=0.05, atol=0)


def test_a_loss_that_is_no_number_reaches_no_checkpoint(tmp_path: Path) -> None:
    bad = task(spoil=lambda number: float("nan") if number == 7 else 1.0)
    with pytest.raises(NonFiniteLossError, match=r"step 7: loss nan.*no checkpoint holds its update"):
        train(bad, LoopConfig(num_steps=20, checkpoint_every=5, log_every=10), tmp_path, "test", {})
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000005"]


def test_cross_entropy_in_chunks_saves_memory() -> None:
    hidden = torch.randn(8192, 512, device="cuda", requires_grad=True)
    weight = (0.05 * torch.randn(50_000, 512, device="cuda")).requires_grad_()
    labels, shares = torch.randint(50_000, (8192,), device="cuda"), torch.full((8192,), 1 / 8192, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss, _ = linear_cross_entropy(hidden, weight, labels, shares)
    loss.backward()
    taken = torch.cuda.max_memory_allocated() - before
    assert taken < 8192 * 50_000 * 4  # whole logits alone, once
    expected = torch.nn.functional.cross_entropy(hidden.detach() @ weight.detach().T, labels)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)


def test_muon_on_cuda_is_muon_on_the_cpu() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 64, 256)
    ours = orthogonalize(matrices.to(CUDA)).cpu()
    expected = orthogonalize(matrices)
    assert (ours - expected).norm() < 0.03 * expected.norm()
