"""The recipe `paint` as it was when its table and the gallery were made: 1,300 updates with paintings."""

from m6.recipes import paint
from m6.recipes.recipe import Recipe


def recipe() -> Recipe:
    """The whole run."""
    return paint.recipe(paint_steps=1_300)
