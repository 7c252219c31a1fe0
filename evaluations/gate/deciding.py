"""From runs to a decision: the figures that a policy asks for, the baseline that may be compared with, the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from evaluations.compare.comparing import Compared, ScoredItem, ScoredRun, compare
from evaluations.compare.statistics import Interval, score_interval
from evaluations.gate.judging import Checked, Verdict, judge, verdict_of
from evaluations.gate.policy import WHOLE, Policy
from rag.errors import ConfigurationError

_RESAMPLES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole run, and the digest of its scores."""

    run: ScoredRun
    digest: str
    suite: str
    fingerprints: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Baseline:
    """An approved run: what a verified decision says of it, and the run as it is stored now."""

    run: ScoredRun
    digest: str
    approved: Mapping[str, Any]

    def objection(self, policy: Policy, today: date) -> str:
        """Why it cannot be compared with, or nothing."""
        if self.approved["verdict"] != "pass":
            return f"the baseline was not approved: its decision says {self.approved['verdict']}"
        if self.approved["scores_digest"] != self.digest:
            return "the scores of the baseline were changed after it was approved"
        age = today - datetime.fromisoformat(self.approved["decided_at"]).date()
        if age > timedelta(days=policy.baseline_max_age_days):
            return f"the baseline is {age.days} days old, {policy.baseline_max_age_days} are allowed: approve a new one"
        return ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, with its checks. `content` is what gets signed."""

    verdict: Verdict
    checked: tuple[Checked, ...]
    content: dict[str, Any]


def decide(policy: Policy, candidate: Candidate, baseline: Baseline | None, *, approver: str) -> Decision:
    """The decision about a run. Raises `RunsDiffer` when the baseline ran on other data or items."""
    now = datetime.now(UTC)
    objection = baseline.objection(policy, now.date()) if baseline else "there is no baseline"
    compared = compare(baseline.run, candidate.run, resamples=_RESAMPLES) if baseline and not objection else None
    slices = {each.slice for each in policy.checks}
    checked = judge(policy, figures(candidate.run, slices), _differences(compared), now.date())
    if objection:
        checked = [_explained(each, objection) for each in checked]
    verdict = verdict_of(checked)
    content = {
        "suite": candidate.suite,
        "run": candidate.run.name,
        "scores_digest": candidate.digest,
        "fingerprints": dict(candidate.fingerprints),
        "verdict": verdict,
        "checks": [asdict(each) for each in checked],
        "policy": policy.model_dump(mode="json"),
        "baseline": {"run": baseline.run.name, "scores_digest": baseline.digest} if baseline else None,
        "decided_at": now.isoformat(timespec="seconds"),
        "decided_by": approver,
    }
    return Decision(verdict, tuple(checked), content)


def figures(run: ScoredRun, slices: Iterable[str]) -> dict[tuple[str, str], Interval]:
    """Mean and interval of every metric, over all items (the slice "") and over the slices `name=value`."""
    found = {}
    for chosen in slices:
        items = [item for item in run.items if _within(item, chosen)]
        for metric in run.directions:
            having = [item for item in items if metric in item.values]
            if having:
                values = [item.values[metric] for item in having]
                clusters = [item.cluster for item in having]
                found[metric, chosen] = score_interval(values, clusters, resamples=_RESAMPLES)
    return found


def _within(item: ScoredItem, chosen: str) -> bool:
    if chosen == WHOLE:
        return True
    name, _, value = chosen.partition("=")
    return item.slices.get(name) == value


def _differences(compared: Compared | None) -> dict[tuple[str, str], Interval] | None:
    if compared is None:
        return None
    both = (*compared.differences, *compared.slices)
    return {(each.metric, each.slice): Interval(each.mean, each.low, each.high) for each in both}


def _explained(checked: Checked, objection: str) -> Checked:
    if "usable baseline" not in checked.reason:
        return checked
    return Checked(checked.name, checked.outcome, f"{checked.reason}: {objection}")


def require_slices(policy: Policy, run: ScoredRun) -> None:
    """Raise `ConfigurationError` for a slice in the policy that is not written `name=value`, or that no item has."""
    known = {f"{name}={value}" for item in run.items for name, value in item.slices.items()}
    for each in policy.checks:
        if each.slice not in (WHOLE, *known):
            there = ", ".join(sorted(known)[:20]) or "none"
            raise ConfigurationError(f"the policy names the slice {each.slice!r}; the run has: {there}")
