"""What a run has learnt is what it can be asked: of anything else it would write as fluently, and mean nothing."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from m6.config import UserError
from m6.recipes.recipe import Recipe

NEEDED = {
    "caption": ("captioning", "captions"),
    "visual_question": ("visual_question_answering", "answers about pictures"),
    "question": ("question_answering", "answers to questions without a picture"),
    "description": ("product_description", "descriptions of products"),
    "poem": ("poem", "poems"),
}
"""By task, the objective that it needs, and what it gives."""


def learnt_by(folder: Path) -> set[str]:
    """The objectives and tasks that a run folder was trained on."""
    return Recipe.read(folder / "config.json").learnt


def check_learnt(task: str, learnt: Set[str]) -> None:
    """UserError unless the objective of a task is among those that were learnt; poems are a task of that name too."""
    objective, gives = NEEDED[task]
    if not learnt & {objective, gives}:
        known = ", ".join(sorted(learnt)) or "nothing"
        raise UserError(f"this run has not learnt {objective} ({gives}); it has learnt {known}")
