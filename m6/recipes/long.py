"""The quickstart with more time: by estimate an hour or more on two cores."""

from m6.recipes import quickstart
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The quickstart with more scenes, trained longer."""
    longer = quickstart.recipe(look_steps=2_000, paint_steps=8_000)
    return longer.override({"corpus.sources.scenes.train": 30_000, "vqgan.loop.num_steps": 3_000})
