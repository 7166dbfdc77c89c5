"""What follows `paint`: the same model paints more scenes, from names alone too, and parts of pictures anew.

m6 quickstart paint_more --from runs/paint --out runs/paint-more
"""

from m6.data.config import Entry
from m6.recipes import paint, quickstart
from m6.recipes.recipe import Recipe


def recipe(num_steps: int = 4_500) -> Recipe:
    """The whole run; with --from it takes a fifth of the updates."""
    things = quickstart.THINGS
    mixture = (
        Entry(source="scenes", samples=5, objectives=paint.SEEING),
        Entry(source="scenes", samples=18, objectives={"text_to_image": 1.0}),
        Entry(source="scenes", samples=4, objectives={"inpainting": 1.0}),
        Entry(source="scenes", samples=0.5, objectives={"language_modelling": 1.0}),
        Entry(source="scenes", samples=1, objectives={"matching": 0.5}),
        Entry(source="emoji", samples=2, objectives={**paint.SEEING, "matching": 0.5}, categories=things),
        Entry(source="emoji", samples=6, objectives={"text_to_image": 1.0}, categories=things),
        Entry(source="emoji", samples=2, objectives={"inpainting": 1.0}, categories=things),
        Entry(source="emoji", samples=0.5, objectives={"language_modelling": 1.0}, categories=things),
    )
    return paint.recipe().override(
        {
            "pretrain.data.mixture": mixture,
            "pretrain.data.title_prompt": 0.5,
            "pretrain.loop.num_steps": num_steps,
        }
    )
