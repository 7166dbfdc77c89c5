"""Every stage as short as it can be, in under a minute: proves that everything works, and learns next to nothing."""

from m6.recipes import quickstart
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The quickstart, cut down."""
    return quickstart.recipe(look_steps=4, paint_steps=8).override(
        {
            "corpus.sources.emoji.most": 420,
            "corpus.sources.poems.most": 300,
            "corpus.sources.scenes.train": 400,
            "corpus.sources.scenes.heldout": 100,
            "tokenizer.vocab_size": 1500,
            "vqgan.loop.num_steps": 16,
            "vqgan.loop.checkpoint_every": 8,
            "pretrain.loop.checkpoint_every": 6,
            "evaluate.num_samples": 8,
            "evaluate.num_poems": 2,
            "evaluate.judge_scenes": 100,
            "evaluate.judge_steps": 5,
        }
    )
