"""Checkpoints without a training."""

from pathlib import Path

from torch import nn

from m6.train.checkpoint import Checkpoints
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.optimizer import Optimizers


def save_weights(folder: Path, model: nn.Module) -> None:
    """Writes a model as the checkpoint of its first update."""
    with Checkpoints(folder, model, Optimizers(model, OptimizerConfig(), 1), LoopConfig(), {}) as saved:
        saved.save(1)
