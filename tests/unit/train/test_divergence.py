"""A loss that rises for good is told from noise, by rows alone, whether the training was broken off or not."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from m6.train.divergence import Level


def rises(losses: Sequence[float | None]) -> list[float]:
    level = Level()
    return [level.add(loss) for loss in losses]


def test_by_hand() -> None:
    """Medians of the rows so far, of five at most: -, -, 3, 3.5, 3, 5, 7, 8."""
    assert rises([3.0, 1.0, 4.0, 9.0, 2.0, 5.0, 7.0, 8.0]) == pytest.approx([0, 0, 0, 0.5, 0, 1.0, 2.0, 4.0])


def test_noise_of_single_rows_is_no_rise() -> None:
    """Rows that differ by nats about a falling mean; each alone would stand far above the lowest."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.5, 300) + rng.choice([-2.0, 0.0, 2.0], 300, p=[0.1, 0.8, 0.1])
    falling = 5.0 * 0.99 ** np.arange(300) + noise
    alone = falling - np.minimum.accumulate(falling)
    assert alone.max() > 3.0 > 2.0 > max(rises(falling.tolist()))


@pytest.mark.parametrize("first", [0, 1, 40])
def test_a_true_rise_is_told_within_three_rows(first: int) -> None:
    """From the first rows on too."""
    found = rises([3.0] * first + [6.0 + 3.0 * step for step in range(6)])
    told = next(row for row, rise in enumerate(found) if rise > 2.0)
    assert told <= max(first + 3, 4)


@pytest.mark.parametrize("losses", [[88.0, 160.0, 93.0], [6.9, 5.6e6], [64787.0]])
def test_what_explodes_at_once_is_held_against_a_guess(losses: list[float]) -> None:
    assert rises(losses)[-1] > 2.0


def test_a_hard_start_is_no_rise() -> None:
    assert rises([11.5, 9.0, 7.0, 6.0, 5.5]) == [0.0] * 5


def test_what_is_no_number_counts_for_nothing() -> None:
    losses = [3.0, None, 2.0, math.nan, 4.0, math.inf, 8.0]
    assert [rise for rise, loss in zip(rises(losses), losses, strict=True) if loss and math.isfinite(loss)] == rises(
        [3.0, 2.0, 4.0, 8.0]
    )


def test_told_of_rows_before_it_goes_on_as_if_unbroken() -> None:
    losses = np.random.default_rng(1).normal(3.0, 1.0, 30).tolist()
    for broken in (0, 2, 7, 29):
        level = Level(losses[:broken])
        assert [level.add(loss) for loss in losses[broken:]] == rises(losses)[broken:]
