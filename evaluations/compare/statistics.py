"""How sure a difference between two runs is: resampling over the same items, with conversations kept together.

Values come as float64[items, metrics], B minus A, item by item. Items of one `cluster` (a document, a conversation) are
drawn and flipped together, because they are not independent of each other.

Efron and Tibshirani, An Introduction to the Bootstrap (1993); Holm (1979); McNemar (1947), exact form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

Values = NDArray[np.float64]

_CELLS: Final = 4_000_000  # of a block of resamples: 32 MB
_POWER: Final = 0.8


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its percentile interval, in the unit of the metric."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many items got better, stayed the same and got worse."""

    wins: int
    ties: int
    losses: int


def mean_intervals(
    values: Values, clusters: Sequence[str], *, resamples: int, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """For each metric the mean over items and its bootstrap interval; clusters are drawn with replacement.

    Raises `ValueError` without items: an empty sample has no mean.
    """
    sums, sizes = _by_cluster(values, clusters)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for block in _blocks(resamples, len(sizes)):
        counts = _draws(rng, block.stop - block.start, len(sizes))
        means[block] = (counts @ sums) / (counts @ sizes)[:, None]
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    center = values.mean(axis=0)
    return [Interval(*map(float, row)) for row in zip(center, low, high, strict=True)]


def score_interval(values: Sequence[float], clusters: Sequence[str], *, resamples: int) -> Interval:
    """The mean of one metric of one run and its interval: by bootstrap, or exact where resampling can see nothing.

    No resample of items that all passed holds a failure, though another sample might: where every value is 0, or every
    value is 1, the interval is that of a share of so many clusters (Clopper and Pearson 1934), [0, 0.043] for 0 of 84.
    """
    (interval,) = mean_intervals(np.asarray(values, np.float64)[:, None], clusters, resamples=resamples)
    if interval.low == interval.high and interval.mean in {0.0, 1.0}:
        count = len(set(clusters))
        exact = binomtest(round(interval.mean) * count, count).proportion_ci(method="exact")
        return Interval(interval.mean, float(exact.low), float(exact.high))
    return interval


def permutation_p_values(
    differences: Values, clusters: Sequence[str], *, resamples: int, seed: int = 0
) -> NDArray[np.float64]:
    """For each metric the two-sided p of "the versions could be exchanged", by flipping signs of whole clusters.

    With add-one correction, so that it is never 0 (Phipson and Smyth 2010).
    """
    sums, _ = _by_cluster(differences, clusters)
    observed = np.abs(sums.sum(axis=0))
    tolerance = 1e-9 * np.maximum(1.0, np.abs(sums).sum(axis=0))
    rng = np.random.default_rng(seed)
    extreme = np.zeros(differences.shape[1])
    for block in _blocks(resamples, len(sums)):
        signs = rng.integers(0, 2, (block.stop - block.start, len(sums)), dtype=np.int8).astype(np.float64) * 2 - 1
        extreme += (np.abs(signs @ sums) >= observed - tolerance).sum(axis=0)
    p_values: NDArray[np.float64] = (extreme + 1) / (resamples + 1)
    return p_values


def mcnemar_p_value(wins: int, losses: int) -> float:
    """The exact two-sided p for a metric that only passes or fails: could wins and losses be a fair coin's?"""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for having looked at all of them, in their order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def outcomes(differences: NDArray[np.float64], tolerance: float = 1e-12) -> Outcomes:
    """Items that got better, stayed equal and got worse by one metric, where more is better."""
    return Outcomes(
        wins=int((differences > tolerance).sum()),
        ties=int((np.abs(differences) <= tolerance).sum()),
        losses=int((differences < -tolerance).sum()),
    )


def detectable_effect(differences: NDArray[np.float64], clusters: Sequence[str], *, level: float = 0.95) -> float:
    """The smallest true difference that a suite of this size and spread would find with a power of 80 %.

    Infinite where one cluster says nothing about the spread, 0 where no item differs.
    """
    sums, sizes = _by_cluster(differences[:, None], clusters)
    if len(sizes) < 2:
        return float("inf")
    mean = differences.mean()
    residuals = sums[:, 0] - mean * sizes
    variance = len(sizes) / (len(sizes) - 1) * float(residuals @ residuals) / float(sizes.sum()) ** 2
    return float((norm.ppf(1 - (1 - level) / 2) + norm.ppf(_POWER)) * np.sqrt(variance))


def _by_cluster(values: Values, clusters: Sequence[str]) -> tuple[Values, NDArray[np.float64]]:
    """Sums float64[clusters, metrics] and sizes float64[clusters]."""
    if not len(values):
        raise ValueError("there are no items to compare")
    if not np.isfinite(values).all():
        raise ValueError("a metric has a value that is not a finite number")
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(place).astype(np.float64)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, place, values)
    return sums, sizes


def _draws(rng: np.random.Generator, resamples: int, size: int) -> NDArray[np.float64]:
    """How often each of `size` things is drawn in each resample: float64[resamples, size], rows sum to `size`."""
    drawn = rng.integers(0, size, (resamples, size), dtype=np.int32)
    drawn += np.arange(resamples, dtype=np.int32)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size).astype(np.float64)


def _blocks(resamples: int, size: int) -> list[slice]:
    step = max(1, _CELLS // max(1, size))
    return [slice(start, min(start + step, resamples)) for start in range(0, resamples, step)]
