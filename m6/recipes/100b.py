"""M6-100B: 1,024 experts in every second layer, for 128 GPUs, each of which holds eight of them.

torchrun --nnodes 16 --nproc-per-node 8 ... -m m6.cli pretrain 100b

On fewer GPUs take fewer groups of experts: --pretrain.parallel.experts 64; see `m6 plan 100b`.
"""

from m6.recipes import base
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """M6-base's recipe with experts: as many FLOPs for each token, 300 times as many parameters."""
    return base.recipe("100b").override(
        {
            "model.experts.capacity_factor": 1.25,
            "pretrain.parallel.experts": 128,
            "pretrain.loop.checkpointing": "full",
        }
    )
