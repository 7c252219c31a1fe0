"""Figures of a judging model count in a gate only when exactly that judge agreed with people's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evaluations.gate.policy import Policy
from evaluations.judge.checking import read_check
from evaluations.runs.records import ItemScores
from rag.errors import ConfigurationError

PREFIX: Final = "judge_"  # of metrics that a judge gives; the rubric's name follows
CHECKS: Final = "judge-checks"  # folder beside the runs


def require_checked_judges(policy: Policy, scores: Sequence[ItemScores], runs: Path) -> None:
    """Raise `ConfigurationError` when the policy rests on a judge that was not checked, or failed its check.

    An item's detail under the metric's name is the fingerprint of the judge that gave its value.
    """
    for metric in {each.metric for each in policy.checks if each.metric.startswith(PREFIX)}:
        rubric = metric.removeprefix(PREFIX)
        for fingerprint in {each.detail.get(metric, "") for each in scores if metric in each.metrics}:
            found = read_check(rubric, fingerprint, runs / CHECKS)
            if found is None or not found.fit_for_gates:
                how = "was never checked" if found is None else "agrees too little with people"
                raise ConfigurationError(
                    f"the judge behind {metric} {how}, so it may not decide; see `banksight evaluate judge-check "
                    f"{rubric}`, or take the metric out of the policy"
                )
