"""How well a check tells supported statements from others. Pure functions over labels and decisions or scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Scores = NDArray[np.float64]
Rows = NDArray[np.intp]

_DIGITS: Final = re.compile(r"\d+(?:[.,]\d+)*")


def balanced_accuracy(supported: Flags, accepted: Flags) -> float:
    """The mean of the share of supported statements accepted and that of others rejected, 0..1; chance is 0.5.

    Raises `ValueError` when one of the two kinds is missing.
    """
    _require_both(supported)
    return float((accepted[supported].mean() + (~accepted[~supported]).mean()) / 2)


def auroc(supported: Flags, scores: Scores) -> float:
    """The chance that a supported statement scores above another one, 0..1; a tie counts half.

    Raises `ValueError` when one of the two kinds is missing.
    """
    _require_both(supported)
    yes, no = scores[supported][:, None], scores[~supported][None, :]
    return float((yes > no).mean() + 0.5 * (yes == no).mean())


def interval(
    figure: Callable[[Rows], float], clusters: Sequence[str], *, resamples: int, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a figure over rows; rows of one cluster are drawn together.

    A draw on which the figure is not defined, because it lacks a kind, is drawn anew.
    """
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    members = [np.flatnonzero(place == each) for each in range(place.max() + 1)]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < resamples:
        rows = np.concatenate([members[each] for each in rng.integers(0, len(members), len(members))])
        try:
            values.append(figure(rows))
        except ValueError:
            if len(members) < 2:
                raise
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def digits_stand(statement: str, text: str) -> bool:
    """The usual check, as a baseline: every number of the statement occurs in the text, digit by digit."""
    stand = {number.replace(",", "") for number in _DIGITS.findall(text)}
    return {number.replace(",", "") for number in _DIGITS.findall(statement)} <= stand


def _require_both(supported: Flags) -> None:
    if supported.all() or not supported.any():
        raise ValueError("this figure needs supported statements and others")
