"""What a release must reach, as an analyst writes it down, and what was waived.

floors:
  - {metric: ndcg@10, at_least: 0.69}
  - {metric: canary_hit_rate, at_most: 0}
  - {metric: ndcg@10, slice: "collection=filings", at_least: 0.5, evidence: interval}
non_inferiority:
  - {metric: ndcg@10, margin: 0.01}
baseline_max_age_days: 90
waivers:
  - {check: "floor ndcg@10 [collection=filings]", reason: "...", approved_by: "...", until: 2027-01-31}
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

WHOLE = ""  # the slice that holds every item


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Floor(_Strict):
    """A bound for the mean of one metric, over all items or over a slice.

    `evidence: point` asks the mean itself; `interval` asks the whole confidence interval, and a bound inside the
    interval is then inconclusive.
    """

    metric: str
    slice: str = WHOLE
    at_least: float | None = None
    at_most: float | None = None
    evidence: Literal["point", "interval"] = "point"

    @model_validator(mode="after")
    def _one_bound(self) -> Floor:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the floor of {self.metric} needs either at_least or at_most")
        return self

    @property
    def name(self) -> str:
        """How waivers and records name this check."""
        return f"floor {_shown(self.metric, self.slice)}"


class NonInferiority(_Strict):
    """The candidate may be worse than the baseline by at most `margin`, in the unit of the metric."""

    metric: str
    slice: str = WHOLE
    margin: float = Field(ge=0)

    @property
    def name(self) -> str:
        """How waivers and records name this check."""
        return f"non-inferiority {_shown(self.metric, self.slice)}"


class Waiver(_Strict):
    """Somebody takes the responsibility for one check, until a day. That day still counts."""

    check: str
    reason: str = Field(min_length=10)
    approved_by: str = Field(min_length=1)
    until: date


class Policy(_Strict):
    """Everything that a gate looks at."""

    floors: tuple[Floor, ...] = ()
    non_inferiority: tuple[NonInferiority, ...] = ()
    baseline_max_age_days: int = Field(default=90, ge=1)
    waivers: tuple[Waiver, ...] = ()

    @property
    def checks(self) -> tuple[Floor | NonInferiority, ...]:
        """All of them, in their order."""
        return (*self.floors, *self.non_inferiority)

    @model_validator(mode="after")
    def _something_to_check(self) -> Policy:
        checks = [each.name for each in self.checks]
        if not checks:
            raise ValueError("a gate without floors and without non_inferiority lets everything pass; write one down")
        if len(set(checks)) < len(checks):
            twice = next(name for name in checks if checks.count(name) > 1)
            raise ValueError(f"{twice!r} stands twice; keep one")
        unknown = [each.check for each in self.waivers if each.check not in checks]
        if unknown:
            raise ValueError(f"the waiver {unknown[0]!r} names no check; checks are: {'; '.join(checks)}")
        return self


def _shown(metric: str, chosen: str) -> str:
    return f"{metric} [{chosen}]" if chosen else metric
