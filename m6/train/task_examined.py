"""A run on a task: what is asked of it, with which examples before, and what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from m6.config import UserError
from m6.data.packing import Run
from m6.data.sample import Segment
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from m6.generate.segments import RunSegments
from m6.recipes.recipe import Recipe
from m6.tasks.example import Example
from m6.tasks.files import has_split, read_split
from m6.tasks.task import Task, named
from m6.train.config import TaskEvaluation
from m6.train.examples import check_lengths

ADVICE = "leave it out, or take a run that was trained with a larger pretrain.data.max_text"

ABOUT_PICTURES = ("matching", "retrieval", "text_to_image")
"""Tasks that compare texts about a picture, of which some are likelier than others by their length and words alone.
Answers to a question are not: how often an answer is right is part of what has been learnt."""


@dataclass
class Examined:
    """A run on a task. What takes time, the model above all, is there when it is first asked for."""

    folder: Path
    config: TaskEvaluation
    pictures: Path = Path()
    """A folder for those that it paints."""

    @cached_property
    def task(self) -> Task:
        return named(self.config.task)

    @cached_property
    def engine(self) -> Engine:
        return Engine.load(self.folder)

    @cached_property
    def learnt(self) -> set[str]:
        """The objectives that the run has been trained on."""
        return Recipe.read(self.folder / "config.json").learnt

    @cached_property
    def segments(self) -> RunSegments:
        return RunSegments(self.engine, self.folder)

    @property
    def way(self) -> Literal["written", "chosen", "ranked", "painted"]:
        """How answers come about: as asked for, or as the task is meant."""
        if self.task.KIND in ("ranked", "painted") or self.config.answers == "auto":
            return self.task.KIND
        return self.config.answers

    @property
    def by(self) -> Literal["pmi", "likelihood", ""]:
        """What choices and texts are ranked by: as asked for, or as the task is meant; "" where answers are written."""
        if self.way == "written":
            return ""
        if self.config.chosen_by != "auto":
            return self.config.chosen_by
        return "pmi" if self.config.task in ABOUT_PICTURES else "likelihood"

    @cached_property
    def examples(self) -> list[Example]:
        """Those of the split, or some spread over all of them."""
        found = read_split(self.config.task, Path(self.config.data), self.config.split)
        wanted = self.config.num_examples or len(found)
        if wanted < len(found):
            order = np.random.default_rng(self.config.seed).permutation(len(found))[:wanted]
            found = [found[index] for index in sorted(order)]
        return self._seen(found)

    @cached_property
    def known(self) -> list[Example]:
        """Those of the training split; none if the data has no such split."""
        path = Path(self.config.data)
        found = read_split(self.config.task, path, "train") if has_split(self.config.task, path, "train") else []
        return self._seen(found)

    def _seen(self, examples: list[Example]) -> list[Example]:
        """Without their pictures, if the run was finetuned without."""
        blind = Recipe.read(self.folder / "config.json").finetune.blind
        return [replace(each, picture=None, group=each.cluster) for each in examples] if blind else examples

    @cached_property
    def shots(self) -> Prefix:
        """Examples with their answers, as they stand before every request. UserError if they are more than there are,
        or than the model was trained to read."""
        if not self.config.shots:
            return ()
        if len(self.known) < self.config.shots:
            raise UserError(f"--shots {self.config.shots}: {self.config.data} has {len(self.known)} training examples")
        order = np.random.default_rng(self.config.seed).permutation(len(self.known))[: self.config.shots]
        drawn = [self.known[index] for index in order]
        check_lengths(drawn, self.segments, self.config.data, ADVICE)
        shown = [self._shown(each) for each in drawn]
        self._check_room(shown)
        return tuple(segment for each in shown for segment in each)

    def _shown(self, example: Example) -> Prefix:
        sample = self.task.sample(example, self.segments)
        branch = sample.branches[0]
        return (*sample.prefix, *branch.prefix, branch.target)

    def _check_room(self, shown: Sequence[Prefix]) -> None:
        """UserError if examples, the longest request and its answer have more tokens than a row of training."""
        data = self.engine.data
        trained = max(data.row_length, data.max_text)
        longest = max(self.examples, key=lambda each: len(self.segments.text(each.prompt).ids))
        sample = self.task.sample(longest, self.segments)
        request = self._tokens((*sample.prefix, *sample.branches[0].prefix)) + self.task.LONGEST
        ends = request + np.cumsum([self._tokens(each) for each in shown])
        if ends[-1] > trained:
            raise UserError(
                f"--shots {len(shown)}: with the longest request and its answer they are {ends[-1]} tokens, and this "
                f"model was trained on rows of {trained}; of these examples {int((ends <= trained).sum())} fit"
            )

    def _tokens(self, segments: Sequence[Segment]) -> int:
        run, order = Run(self.engine.vocabulary, self.engine.model.config.patch_grid), 0
        for segment in segments:
            order = run.add_prefix(segment, order, branch=0)
        return run.length

    def prefix(self, example: Example) -> Prefix:
        """What the model goes on from."""
        sample = self.task.sample(example, self.segments)
        return (*self.shots, *sample.prefix, *sample.branches[0].prefix)
