"""Statistic: a score of many examples that knows how far chance may have moved it.

A score is a function of sums over examples: accuracy of right ones and all, BLEU of matches and lengths, a mean of
values and their number. Kept by example, these sums can be drawn anew (bootstrap, Efron 1979), with the same draws for
two systems that answered the same examples (Koehn 2004, https://aclanthology.org/W04-3250). Examples that hang
together, as questions about one picture do, are drawn together (cluster bootstrap; Davison and Hinkley 1997, 3.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

DRAWS = 2_000
SHARE = 0.95


@dataclass(frozen=True)
class Statistic:
    """A score of N examples. `parts` [N, K] float are what each adds; `value` maps sums [..., K] to scores [...];
    `groups` names for each of them what it hangs together with, unless every one stands alone."""

    parts: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    groups: tuple[str, ...] = ()

    @staticmethod
    def mean(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> Statistic:
        """The mean of one value an example, weighted if told; of nothing, not a number."""
        found = np.asarray(values, float)
        weight = np.ones_like(found) if weights is None else np.asarray(weights, float)
        return Statistic(np.stack([found * weight, weight], -1), _ratio)

    def __call__(self) -> float:
        """The score of all examples together."""
        return float(self.value(self.parts.sum(0)))

    def grouped(self, groups: Sequence[str]) -> Statistic:
        """The same, its examples drawn by groups, of which one is named for each. ValueError for another number."""
        if len(groups) != len(self.parts):
            raise ValueError(f"{len(groups)} groups of {len(self.parts)} examples")
        return replace(self, groups=tuple(groups))

    @property
    def clusters(self) -> np.ndarray:
        """What is drawn: the parts of each group together [G, K], groups in the order in which they first appear."""
        if not self.groups:
            return self.parts
        places = {name: place for place, name in enumerate(dict.fromkeys(self.groups))}
        sums = np.zeros((len(places), self.parts.shape[1]))
        np.add.at(sums, [places[name] for name in self.groups], self.parts)
        return sums

    def draws(self, seed: int = 0, count: int = DRAWS) -> np.ndarray:
        """The score of `count` samples of G groups, drawn with replacement: [count]. The same seed draws the same
        groups for any statistic of as many."""
        clusters = self.clusters
        number = len(clusters)
        rng = np.random.default_rng(seed)
        sums = np.stack([rng.multinomial(number, np.full(number, 1 / number)) @ clusters for _ in range(count)])
        return np.asarray(self.value(sums))

    def interval(self, seed: int = 0, share: float = SHARE) -> tuple[float, float]:
        """The bounds between which `share` of the draws lie; not numbers where fewer than two groups can be drawn."""
        return _bounds(self.draws(seed), share) if len(self.clusters) > 1 else (math.nan, math.nan)


def difference(
    ours: Statistic, theirs: Statistic, seed: int = 0, share: float = SHARE
) -> tuple[float, float | None, float | None]:
    """How much higher ours is on the same examples, and the bounds of it, None where fewer than two groups can be
    drawn. ValueError if they are not as many."""
    if len(ours.parts) != len(theirs.parts) or len(ours.clusters) != len(theirs.clusters):
        raise ValueError(f"{len(ours.parts)} examples against {len(theirs.parts)}, or not the same groups")
    if len(ours.clusters) < 2:
        return ours() - theirs(), None, None
    return ours() - theirs(), *_bounds(ours.draws(seed) - theirs.draws(seed), share)


def _bounds(draws: np.ndarray, share: float) -> tuple[float, float]:
    if np.isnan(draws).all():
        return math.nan, math.nan
    low, high = np.nanquantile(draws, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])
