"""M6-10B: a dense model of 50 layers, for 8 GPUs of 80 GB on.

torchrun --nproc-per-node 8 -m m6.cli pretrain 10b

Activations of a block are forgotten after the forward and computed again; see `m6 plan 10b` for what fits where.
"""

from m6.recipes import base
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """M6-base's recipe with the larger model, lower rates and less memory."""
    return base.recipe("10b").override(
        {
            "pretrain.loop.checkpointing": "full",
            "pretrain.loop.optimizer.learning_rate": 1.5e-4,
            "pretrain.loop.optimizer.muon_learning_rate": 2e-3,
        }
    )
