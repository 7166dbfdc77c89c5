"""LoRA: nothing changes at first, only the updates are trained, and a plain model reads them out of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from m6.data.packing import Batch, pack
from m6.model.config import ModelConfig
from m6.model.lora import LoRALinear, add_lora
from m6.model.transformer import Transformer
from m6.model.weights import load_weights, newest
from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers
from m6.train.pretrain import batch_loss
from tests.unit.data.examples import VOCABULARY, mixed_samples

SIZE = ModelConfig(num_layers=2, hidden_size=32, num_heads=2, ffn_size=64)
ABOUT = {"config": {"finetune": {"lora": {"alpha": 8.0}}}}


@pytest.fixture
def batch() -> Batch:
    return pack(mixed_samples(), VOCABULARY, 8, 64)


def model(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(SIZE, VOCABULARY.size)


def trained(batch: Batch, folder: Path) -> Transformer:
    """A model whose updates have learnt a batch for some steps, in a checkpoint."""
    found = model()
    add_lora(found, rank=4, alpha=8.0)
    optimizers = Optimizers(found, OptimizerConfig(learning_rate=1e-2), 8)
    for step in range(8):
        batch_loss(found, batch)[0].backward()
        optimizers.clip()
        optimizers.step(step)
    with Checkpoints(folder, found, optimizers, LoopConfig(), ABOUT) as saved:
        saved.save(8)
    return found


def test_updates_of_zero_change_nothing_and_the_rest_is_frozen(batch: Batch) -> None:
    plain, adapted = model(), model()
    add_lora(adapted, rank=4, alpha=8.0)
    assert batch_loss(adapted, batch)[0].item() == batch_loss(plain, batch)[0].item()
    free = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert free
    assert all(name.startswith("blocks.") and name.endswith(("lora_a", "lora_b")) for name in free)
    assert set(plain.state_dict()) < set(adapted.state_dict())


def test_a_layer_computes_the_sum_of_both(batch: Batch) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 5, bias=False)
    layer = LoRALinear(linear, rank=2, alpha=4.0)
    torch.nn.init.normal_(layer.lora_b)
    x = torch.randn(3, 6)
    whole: Tensor = linear.weight + 2.0 * layer.lora_b @ layer.lora_a
    torch.testing.assert_close(layer(x), x @ whole.T)


def test_a_plain_model_reads_the_updates_out_of_the_checkpoint(batch: Batch, tmp_path: Path) -> None:
    adapted = trained(batch, tmp_path)
    before, after = batch_loss(model(), batch)[0].item(), batch_loss(adapted, batch)[0].item()
    assert after < before - 0.1, "the updates have learnt"
    merged = model(seed=1)
    load_weights(newest(tmp_path, "finetune"), merged)
    assert batch_loss(merged, batch)[0].item() == pytest.approx(after, abs=1e-5)
    untouched = model().embedding.weight
    assert torch.equal(merged.embedding.weight, untouched)


def test_a_training_with_updates_goes_on_from_its_checkpoint(batch: Batch, tmp_path: Path) -> None:
    adapted = trained(batch, tmp_path)
    again = model(seed=1)
    add_lora(again, rank=4, alpha=8.0)
    optimizers = Optimizers(again, OptimizerConfig(), 8)
    assert Checkpoints(tmp_path, again, optimizers, LoopConfig(), ABOUT).resume() == 8
    for name, tensor in adapted.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
