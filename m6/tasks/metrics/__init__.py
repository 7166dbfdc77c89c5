"""Metrics on texts and on yes or no: small, exact, and checked by hand in the tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def mean(values: Iterable[float]) -> float:
    """The mean; not a number for nothing."""
    found = list(values)
    return float(np.mean(found)) if found else float("nan")


def exact(written: Sequence[str], true: Sequence[str]) -> float:
    """Share of texts that equal the true one."""
    return mean(ours == theirs for ours, theirs in zip(written, true, strict=True))


def f1(written: set[str], true: set[str]) -> float:
    """Harmonic mean of precision and recall of one set against another; 0 if they share nothing."""
    shared = len(written & true)
    return 2 * shared / (len(written) + len(true)) if shared else 0.0


def overlap(one: str, other: str) -> float:
    """Shared characters of two texts, as the F1 of their sets."""
    return f1(set(one), set(other))


def interval(values: Sequence[float], seed: int = 0, share: float = 0.95, draws: int = 1000) -> tuple[float, float]:
    """Bootstrap interval of the mean: the bounds between which `share` of resampled means lie. Answers that are all
    right or all wrong, 1 or 0, have no spread to draw from; theirs is the exact interval of a proportion (Clopper and
    Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    found = np.asarray(values, float)
    if not len(found):
        return float("nan"), float("nan")
    if (found == 1).all() or (found == 0).all():
        bound = ((1 - share) / 2) ** (1 / len(found))
        return (bound, 1.0) if found[0] else (0.0, 1 - bound)
    means = found[np.random.default_rng(seed).integers(0, len(found), (draws, len(found)))].mean(1)
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
