"""Whether a loss has risen for good: the median of the last rows of metrics against the lowest that it has been.

A row may be the mean of two samples, whose losses differ by nats; a median of five tells a rise from such noise. What
explodes at once has no lower row before it: it is held against a guess among all tokens, as a model begins.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

ROWS = 5  # of which the median is taken
FEWEST = 3  # rows whose level the next ones are held against
GUESS = 12.0
"""Nats of a guess among 160,000 tokens, more than any vocabulary here has."""


class Level:
    """The level of a loss, told row by row."""

    def __init__(self, losses: Iterable[float | None] = ()) -> None:
        """losses: of the rows so far, those that `add` would have been told."""
        self._last: deque[float] = deque(maxlen=ROWS)
        self.lowest = GUESS
        for loss in losses:
            self.add(loss)

    def add(self, loss: float | None) -> float:
        """To be told the loss of the next row; returns how far its level stands above the lowest before, or above a
        guess, nats, or 0 if it does not. What is no number, as in a row of skipped steps, counts for nothing."""
        if loss is None or not math.isfinite(loss):
            return 0.0
        self._last.append(loss)
        level = median(self._last)
        rise = level - self.lowest
        if len(self._last) >= FEWEST:
            self.lowest = min(self.lowest, level)
        return max(rise, 0.0)
