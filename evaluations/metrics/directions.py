"""Which way is better, for every figure that items of a run can have."""

from __future__ import annotations

from evaluations.counterfactual.outcomes import DIRECTIONS
from evaluations.gate.judged import PREFIX
from evaluations.metrics.catalog import Direction, metric


def direction_of(name: str) -> Direction:
    """The direction of a metric of suites, counterfactual tests or judges. Raises `ConfigurationError`."""
    if name in DIRECTIONS:
        return DIRECTIONS[name]
    return "higher" if name.startswith(PREFIX) else metric(name).direction
