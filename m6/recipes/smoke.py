"""Every stage as short as it can be, in under a minute: proves that everything works, and learns next to nothing."""

from m6.recipes import quickstart
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The quickstart, cut down."""
    return quickstart.recipe().override(
        {
            "tokenizer.vocab_size": 2000,
            "vqgan.loop.num_steps": 20,
            "vqgan.loop.checkpoint_every": 10,
            "pretrain.loop.num_steps": 20,
            "pretrain.loop.checkpoint_every": 10,
            "evaluate.num_samples": 8,
        }
    )
