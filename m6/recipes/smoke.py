"""Every stage as short as it can be, in under a minute: proves that everything works, and learns next to nothing."""

from m6.data.config import Entry
from m6.recipes import quickstart
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The quickstart, cut down: a quarter of the pictures in a step, and parts of some painted anew."""
    whole = quickstart.recipe(look_steps=4, paint_steps=8)
    fewer = [entry.model_copy(update={"samples": entry.samples / 4}) for entry in whole.pretrain.data.mixture]
    edited = Entry(source="emoji", samples=0.5, objectives={"inpainting": 1.0})
    return whole.override(
        {
            "corpus.sources.emoji.most": 420,
            "corpus.sources.poems.most": 300,
            "corpus.sources.scenes.train": 400,
            "corpus.sources.scenes.heldout": 100,
            "tokenizer.vocab_size": 1500,
            "vqgan.batch_size": 8,
            "vqgan.loop.num_steps": 16,
            "vqgan.loop.checkpoint_every": 8,
            "pretrain.data.mixture": (*fewer, edited),
            "pretrain.loop.checkpoint_every": 6,
            "evaluate.num_samples": 8,
            "evaluate.num_poems": 2,
            "evaluate.judge_scenes": 100,
            "evaluate.judge_steps": 5,
        }
    )
