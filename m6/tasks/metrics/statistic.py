"""Statistic: a score of many examples that knows how far chance may have moved it.

A score is a function of sums over examples: accuracy of right ones and all, BLEU of matches and lengths, a mean of
values and their number. Kept by example, these sums can be drawn anew (bootstrap, Efron 1979), with the same draws for
two systems that answered the same examples (Koehn 2004, https://aclanthology.org/W04-3250).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2_000
SHARE = 0.95


@dataclass(frozen=True)
class Statistic:
    """A score of N examples. `parts` [N, K] float are what each adds; `value` maps sums [..., K] to scores [...]."""

    parts: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]

    @staticmethod
    def mean(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> Statistic:
        """The mean of one value an example, weighted if told; of nothing, not a number."""
        found = np.asarray(values, float)
        weight = np.ones_like(found) if weights is None else np.asarray(weights, float)
        return Statistic(np.stack([found * weight, weight], -1), _ratio)

    def __call__(self) -> float:
        """The score of all examples together."""
        return float(self.value(self.parts.sum(0)))

    def draws(self, seed: int = 0, count: int = DRAWS) -> np.ndarray:
        """The score of `count` samples of N examples, drawn with replacement: [count]. The same seed draws the same
        examples for any statistic of as many."""
        number = len(self.parts)
        rng = np.random.default_rng(seed)
        sums = np.stack([rng.multinomial(number, np.full(number, 1 / number)) @ self.parts for _ in range(count)])
        return np.asarray(self.value(sums))

    def interval(self, seed: int = 0, share: float = SHARE) -> tuple[float, float]:
        """The bounds between which `share` of the draws lie."""
        if not len(self.parts):
            return float("nan"), float("nan")
        low, high = np.nanquantile(self.draws(seed), [(1 - share) / 2, (1 + share) / 2])
        return float(low), float(high)


def difference(ours: Statistic, theirs: Statistic, seed: int = 0, share: float = SHARE) -> tuple[float, float, float]:
    """How much higher ours is on the same examples, and the bounds of it. ValueError if they are not as many."""
    if len(ours.parts) != len(theirs.parts):
        raise ValueError(f"{len(ours.parts)} examples against {len(theirs.parts)}")
    apart = ours.draws(seed) - theirs.draws(seed)
    low, high = np.nanquantile(apart, [(1 - share) / 2, (1 + share) / 2])
    return ours() - theirs(), float(low), float(high)


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])
