"""Intervals of what hangs together, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from m6.tasks import visual_question_answering as vqa
from m6.tasks.example import Example, PictureAt
from m6.tasks.metrics.ngrams import distinct
from m6.tasks.metrics.statistic import Statistic, difference
from m6.tasks.retrieval import score_ranks
from tests.unit.tasks.test_samples import PICTURE


def test_groups_are_drawn_whole() -> None:
    """Three right answers about one picture, a wrong one about another: 1, 3/4 or 0 of them are right in a draw, and
    the draws are of both pictures, of one twice or of the other twice, as 2 : 1 : 1."""
    found = Statistic.mean([1, 1, 0, 1]).grouped(["one", "one", "other", "one"])
    assert found() == 3 / 4
    draws = found.draws(count=4_000)
    assert {share: round(float((draws == share).mean()), 1) for share in set(draws.tolist())} == {
        1.0: pytest.approx(0.25, abs=0.06),
        3 / 4: pytest.approx(0.5, abs=0.06),
        0.0: pytest.approx(0.25, abs=0.06),
    }
    assert found.interval() == (0.0, 1.0)
    assert len(found.clusters) == 2
    with pytest.raises(ValueError, match="1 groups of 4"):
        found.grouped(["one"])


def test_answers_about_one_picture_widen_the_interval() -> None:
    """20 pictures with 10 questions each, of which all answers are right or none: 20 things were seen, not 200."""
    right = np.repeat([1.0, 0.0], 100)
    alone, together = Statistic.mean(right), Statistic.mean(right).grouped([str(n // 10) for n in range(200)])
    half = [(high - low) / 2 for low, high in (alone.interval(), together.interval())]
    assert half[0] == pytest.approx(1.96 * 0.5 / math.sqrt(200), rel=0.1)
    assert half[1] == pytest.approx(1.96 * 0.5 / math.sqrt(20), rel=0.1)
    better = difference(together, Statistic.mean(1 - right).grouped(together.groups))
    assert better[0] == 0
    assert better[2] is not None
    assert better[2] > 0.3
    with pytest.raises(ValueError, match="not the same groups"):
        difference(together, alone)


def test_one_value_has_no_interval() -> None:
    for found in (distinct(["红苹果", "青苹果"], 1), Statistic.mean([1.0]), Statistic.mean([1, 0]).grouped(["a", "a"])):
        assert all(map(math.isnan, found.interval()))
        assert difference(found, found) == (0.0, None, None)


def test_tasks_draw_by_group_by_picture_or_alone() -> None:
    examples = [
        Example("1", answers=("猫",), picture=PictureAt(PICTURE)),
        Example("2", answers=("猫",), picture=PictureAt(PICTURE)),
        Example("3", answers=("猫",), picture=PictureAt(PICTURE, start=9)),
        Example("4"),  # not told
        Example("5", answers=("狗",), group="狗"),
        Example("6", answers=("狗",), picture=PictureAt(PICTURE), group="狗"),
        Example("7", answers=("鸟",)),
    ]
    score = vqa.score(["猫"] * 7, examples, [])["accuracy"]
    assert (len(score.parts), score.clusters.tolist()) == (6, [[2, 2], [1, 1], [0, 2], [0, 1]])


def test_texts_of_one_picture_are_drawn_together() -> None:
    examples = [Example(str(n), answers=own) for n, own in enumerate([("甲", "乙"), ("丙",), ()])]
    score = score_ranks(np.zeros((3, 3)), examples)
    assert len(score["text_to_image.recall_1"].parts) == 3
    assert len(score["text_to_image.recall_1"].clusters) == 2
