"""Examples of a task as the samples of any step, as a pure function of the seed and the step.

They are walked through in a shuffled order, epoch after epoch, as documents are in pretraining; examples about one
picture make one sample, whose picture is computed once. Of several right answers one is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from m6.config import UserError
from m6.data.config import DataConfig
from m6.data.images import jittered
from m6.data.mixture import shuffled
from m6.data.sample import Picture, Sample, Segment
from m6.data.unusable import Skipped, first_usable, usable
from m6.tasks.example import Example, Segments
from m6.tasks.task import Task


class Examples:
    """Samples of any step; stands where a `Mixture` does. `per_step`: samples of a step. `jitter`: share of their side
    by which pictures of pixels are moved."""

    def __init__(
        self,
        task: Task,
        examples: Sequence[Example],
        segments: Segments,
        config: DataConfig,
        per_step: int,
        seed: int,
        jitter: float = 0.0,
    ) -> None:
        self.config = config
        self._jitter = jitter
        self._task, self._segments, self._per_step, self._seed = task, segments, per_step, seed
        self._groups = list(_of_one_picture(examples, config.max_questions))

    def drawn(self, step: int) -> list[tuple[int, int]]:
        """The samples of a step, each as (0, which of all it is); none if there are no examples."""
        count = self._per_step if self._groups else 0
        return [(0, index) for index in range(step * count, (step + 1) * count)]

    def num_drawn(self, step: int) -> int:
        """Samples of all steps before this one."""
        return step * self._per_step

    def part(self, step: int, part: int = 0, parts: int = 1) -> tuple[list[Sample], list[Skipped]]:
        """Every `parts`-th sample of a step from number `part` on; and what could not be used, whose place the next
        has taken."""
        made: list[Sample] = []
        skipped: list[Skipped] = []
        for _, index in self.drawn(step)[part::parts]:
            samples, bad = first_usable(partial(self._make, index))
            made += samples or []
            skipped += bad
        return made, skipped

    def _make(self, index: int, attempt: int) -> list[Sample]:
        epoch, place = divmod(index, len(self._groups))
        count = len(self._groups)
        group = self._groups[shuffled((place + attempt) % count, count, hash((self._seed, epoch)))]
        rng = np.random.default_rng((self._seed, index, attempt))
        with usable(group[0].key):
            samples = [self._task.sample(self._drawn(example, rng), self._segments) for example in group]
        if not samples[0].prefix:
            return samples
        prefix = tuple(self._moved(segment, rng) for segment in samples[0].prefix)
        return [Sample(samples[0].key, prefix, tuple(branch for each in samples for branch in each.branches))]

    def _drawn(self, example: Example, rng: np.random.Generator) -> Example:
        """With one of its answers; a painting now and then without its prompt, for classifier-free guidance."""
        if self._task.KIND == "painted":
            return replace(example, prompt="") if rng.random() < self.config.empty_prompt else example
        return _with_one_answer(example, rng)

    def _moved(self, segment: Segment, rng: np.random.Generator) -> Segment:
        if not self._jitter or not isinstance(segment, Picture):
            return segment
        return Picture(jittered(segment.pixels, self._jitter, rng))


def check_lengths(
    examples: Sequence[Example], segments: Segments, data: str, advice: str = "allow more by --pretrain.data.max_text"
) -> None:
    """UserError, which names `data` and the example, unless the model can read every prompt and answer whole."""
    for example in examples:
        for text in (example.prompt, *example.answers, *example.choices):
            try:
                segments.text(text)
            except UserError as error:
                raise UserError(f"{data}: {example.key}: {error}, or {advice}") from None


def _of_one_picture(examples: Sequence[Example], most: int) -> Iterator[tuple[Example, ...]]:
    """Groups of at most `most` examples about the same picture; one without a picture is a group of its own."""
    group: list[Example] = []
    for example in examples:
        if group and (example.picture is None or example.picture != group[0].picture or len(group) == most):
            yield tuple(group)
            group = []
        group.append(example)
    if group:
        yield tuple(group)


def _with_one_answer(example: Example, rng: np.random.Generator) -> Example:
    if len(example.answers) < 2:
        return example
    return replace(example, answers=(example.answers[int(rng.integers(len(example.answers)))],))
