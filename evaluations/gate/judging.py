"""From figures and a policy to a verdict, check by check. Pure: it reads no run, no clock and no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from evaluations.compare.statistics import Interval
from evaluations.gate.policy import Floor, NonInferiority, Policy, Waiver

Outcome = Literal["pass", "fail", "inconclusive", "waived"]
Verdict = Literal["pass", "fail", "inconclusive"]

# Beside the codes of the command line: 2 wrong usage, 3 a setting or file is wrong, 130 interrupted.
EXIT_CODES: Final[dict[Verdict, int]] = {"pass": 0, "fail": 10, "inconclusive": 11}

Figures = Mapping[tuple[str, str], Interval]  # (metric, slice) -> mean and interval


@dataclass(frozen=True, slots=True)
class Checked:
    """One check of the policy: what was asked, what was found, and what a waiver says about it."""

    name: str
    outcome: Outcome
    reason: str


def judge(policy: Policy, candidate: Figures, difference: Figures | None, today: date) -> list[Checked]:
    """Every check of the policy.

    `difference` is candidate minus baseline, turned so that more is better, or None without a usable baseline: what
    needs one is then inconclusive. A figure that the run does not have fails: nothing passes unseen.
    """
    checked = [_floor(each, candidate) for each in policy.floors]
    checked += [_non_inferior(each, difference) for each in policy.non_inferiority]
    waivers = {each.check: each for each in policy.waivers}
    return [_waived(each, waivers.get(each.name), today) for each in checked]


def verdict_of(checked: Sequence[Checked]) -> Verdict:
    """`fail` when one check failed, else `inconclusive` when one could not tell, else `pass`."""
    found = {each.outcome for each in checked}
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"


def _floor(floor: Floor, figures: Figures) -> Checked:
    interval = figures.get((floor.metric, floor.slice))
    if interval is None:
        return Checked(floor.name, "fail", "the run has no such figure; correct the metric or the slice in the policy")
    found = f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
    if floor.at_least is not None:
        bound, word, meets = floor.at_least, "at least", _at_least(floor.at_least)
        safe, lost = interval.low, interval.high
    else:
        bound = floor.at_most if floor.at_most is not None else 0.0
        word, meets = "at most", _at_most(bound)
        safe, lost = interval.high, interval.low
    reason = f"{found}, must be {word} {bound:g}"
    if floor.evidence == "point":
        return Checked(floor.name, "pass" if meets(interval.mean) else "fail", reason)
    if meets(safe):
        return Checked(floor.name, "pass", reason)
    return Checked(floor.name, "inconclusive" if meets(lost) else "fail", f"{reason}, with its whole interval")


def _non_inferior(asked: NonInferiority, difference: Figures | None) -> Checked:
    if difference is None:
        return Checked(asked.name, "inconclusive", "there is no usable baseline to compare with")
    interval = difference.get((asked.metric, asked.slice))
    if interval is None:
        return Checked(asked.name, "fail", "both runs must have this figure; correct the metric or the slice")
    found = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] against the baseline"
    reason = f"{found}, may be worse by {asked.margin:g}"
    if interval.low >= -asked.margin:
        return Checked(asked.name, "pass", reason)
    if interval.high < -asked.margin:
        return Checked(asked.name, "fail", reason)
    return Checked(asked.name, "inconclusive", f"{reason}: the suite is too small to tell")


def _waived(checked: Checked, waiver: Waiver | None, today: date) -> Checked:
    if waiver is None or checked.outcome == "pass":
        return checked
    if waiver.until < today:
        return Checked(checked.name, checked.outcome, f"{checked.reason}; its waiver ended on {waiver.until}")
    by = f"waived by {waiver.approved_by} until {waiver.until}: {waiver.reason}"
    return Checked(checked.name, "waived", f"{checked.reason}; {by}")


def _at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def _at_most(bound: float) -> Callable[[float], bool]:
    return lambda value: value <= bound
