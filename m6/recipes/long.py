"""The quickstart with more time: by estimate one to two hours on two cores."""

from m6.recipes import quickstart
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The quickstart with more scenes, trained longer."""
    return quickstart.recipe().override(
        {"corpus.scenes.train": 30_000, "vqgan.loop.num_steps": 3_000, "pretrain.loop.num_steps": 9_000}
    )
