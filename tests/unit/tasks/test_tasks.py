"""Metrics and painting from worked examples."""

import math

import numpy as np
import pytest

from m6.tasks import text_to_image
from m6.tasks.example import Example
from m6.tasks.metrics import exact, f1, interval, mean, overlap


def test_metrics_by_hand() -> None:
    assert exact(["猫", "狗"], ["猫", "鸟"]) == 0.5
    assert f1({"a", "b"}, {"b", "c", "d"}) == pytest.approx(2 * (1 / 2 * 1 / 3) / (1 / 2 + 1 / 3))
    assert f1(set(), {"a"}) == 0.0
    assert overlap("红苹果", "青苹果") == pytest.approx(2 / 3)
    assert math.isnan(mean([]))


def test_an_interval_covers_the_mean_and_shrinks_with_more_values() -> None:
    few, many = [0.0, 1.0] * 5, [0.0, 1.0] * 500
    low, high = interval(few)
    assert low < 0.5 < high
    assert interval(many)[1] - interval(many)[0] < (high - low) / 5
    low, high = interval([1.0] * 9)
    assert (low**9, high) == (pytest.approx(0.025), 1.0)  # were the true share lower, nine of nine would be rarer still
    assert interval([0.0] * 9) == (0.0, pytest.approx(1 - low))


def test_the_nearest_picture_is_found() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    shown = np.clip(known[[3, 0]].astype(int) + 9, 0, 255).astype(np.uint8)
    assert text_to_image.nearest(shown, known).tolist() == [3, 0]


def test_paintings_are_told_by_their_texts_and_pictures() -> None:
    """By hand: three paintings of two texts, of which the last is told by the other one."""
    examples = [Example("a", "猫"), Example("b", "狗"), Example("c", "猫")]
    assert text_to_image.texts_of(examples) == ["猫", "狗"]
    found = text_to_image.score_round_trip(np.array([[2.0, 1.0], [0.0, 0.5], [1.0, 1.0]]), examples)
    assert found["round_trip.recall_1"]() == pytest.approx(2 / 3)  # what fits as well stands before
    assert found["round_trip.recall_5"]() == 1
    meant = np.stack([np.full((2, 2, 3), level, np.uint8) for level in (0, 100, 200)])
    painted = np.stack([np.full((2, 2, 3), level, np.uint8) for level in (40, 170, 255)])
    assert text_to_image.score_nearest(painted, meant)() == pytest.approx(2 / 3)


def test_choices_hold_their_own_prompt_once_and_no_other_twice() -> None:
    rows, places = text_to_image.choices(30, 10, seed=0)
    assert all(rows[index, place] == index for index, place in enumerate(places))
    assert all(len(set(row)) == 10 for row in rows.tolist())
    assert len(set(places.tolist())) > 3
