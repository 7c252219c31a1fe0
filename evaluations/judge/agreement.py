"""How well a judge agrees with people, and what its figures are worth.

Cohen (1960) for kappa; Rogan and Gladen (1978) for the corrected rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluations.compare.statistics import Interval
from evaluations.judge.opinions import Vote


@dataclass(frozen=True, slots=True)
class Agreement:
    """People against a judge. `invalid` verdicts count as wrong on either side; they are never left out.

    `sensitivity` is the share of people's yes that the judge says yes to, `specificity` of their no. `kappa` is the
    agreement beyond chance, with its bootstrap interval; `base_rate` is the share of people's yes.
    """

    cases: int
    base_rate: float
    sensitivity: float
    specificity: float
    kappa: Interval
    invalid: int
    steadiness: float

    def corrected(self, rate: float) -> float:
        """The share of true yes behind a share of yes from this judge, 0..1. The share itself from a useless judge."""
        power = self.sensitivity + self.specificity - 1
        return min(1.0, max(0.0, (rate + self.specificity - 1) / power)) if power > 0 else rate


def agreement(
    people: Sequence[bool], judged: Sequence[Vote], steadiness: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> Agreement:
    """Compare case by case. Raises `ValueError` unless people said yes to some cases and no to others."""
    truth = np.asarray(people, dtype=bool)
    if truth.all() or not truth.any():
        raise ValueError("people must have said yes to some cases and no to others, else nothing can be measured")
    # An invalid verdict becomes the opposite of what people said.
    said = np.array(
        [vote == "yes" if vote != "invalid" else not known for vote, known in zip(judged, truth, strict=True)]
    )
    drawn = np.random.default_rng(seed).integers(0, len(truth), (resamples, len(truth)))
    low, high = np.quantile([_kappa(truth[row], said[row]) for row in drawn], [0.025, 0.975])
    return Agreement(
        cases=len(truth),
        base_rate=float(truth.mean()),
        sensitivity=float(said[truth].mean()),
        specificity=float((~said[~truth]).mean()),
        kappa=Interval(_kappa(truth, said), float(low), float(high)),
        invalid=sum(1 for vote in judged if vote == "invalid"),
        steadiness=float(np.mean(steadiness)),
    )


def _kappa(truth: np.ndarray, said: np.ndarray) -> float:
    observed = float((truth == said).mean())
    chance = float(truth.mean() * said.mean() + (1 - truth.mean()) * (1 - said.mean()))
    return (observed - chance) / (1 - chance) if chance < 1 else 0.0
