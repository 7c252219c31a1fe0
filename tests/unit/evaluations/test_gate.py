"""The gate: what passes, what fails, what cannot be told, and a record that no one can change unseen."""

from __future__ import annotations

import json
import stat
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pydantic import ValidationError

from evaluations.compare.statistics import Interval
from evaluations.gate import records
from evaluations.gate.judging import EXIT_CODES, Checked, judge, verdict_of
from evaluations.gate.junit import junit_xml
from evaluations.gate.policy import Policy
from rag.errors import ConfigurationError

TODAY = date(2026, 11, 25)


def _policy(**fields: Any) -> Policy:
    return Policy.model_validate(fields)


def _one(policy: Policy, mean: Interval, difference: Interval | None = None) -> Checked:
    compared = None if difference is None else {("ndcg@10", ""): difference}
    (checked,) = judge(policy, {("ndcg@10", ""): mean}, compared, TODAY)
    return checked


@pytest.mark.parametrize(
    ("floor", "outcome"),
    [
        ({"at_least": 0.70}, "pass"),
        ({"at_least": 0.71}, "fail"),
        ({"at_least": 0.68, "evidence": "interval"}, "pass"),
        ({"at_least": 0.70, "evidence": "interval"}, "inconclusive"),
        ({"at_least": 0.73, "evidence": "interval"}, "fail"),
        ({"at_most": 0.70}, "pass"),
        ({"at_most": 0.69}, "fail"),
        ({"at_most": 0.71, "evidence": "interval"}, "inconclusive"),
        ({"at_most": 0.67, "evidence": "interval"}, "fail"),
    ],
)
def test_a_floor_is_compared_with_the_mean_or_with_the_whole_interval(floor: dict[str, Any], outcome: str) -> None:
    policy = _policy(floors=[{"metric": "ndcg@10", **floor}])
    assert _one(policy, Interval(0.70, 0.68, 0.72)).outcome == outcome


@pytest.mark.parametrize(
    ("difference", "outcome"),
    [
        (Interval(0.0, -0.009, 0.009), "pass"),
        (Interval(-0.005, -0.02, 0.01), "inconclusive"),
        (Interval(-0.03, -0.04, -0.02), "fail"),
        (None, "inconclusive"),
    ],
)
def test_non_inferiority_needs_the_interval_above_the_margin(difference: Interval | None, outcome: str) -> None:
    policy = _policy(non_inferiority=[{"metric": "ndcg@10", "margin": 0.01}])
    assert _one(policy, Interval(0.7, 0.6, 0.8), difference).outcome == outcome


def test_a_figure_that_the_run_does_not_have_fails() -> None:
    (checked,) = judge(_policy(floors=[{"metric": "ndgc@10", "at_least": 0}]), {}, None, TODAY)
    assert checked.outcome == "fail"
    assert "no such figure" in checked.reason


def test_a_waiver_counts_until_its_day_and_not_after() -> None:
    waiver = {"check": "floor ndcg@10", "reason": "the new labels are being reviewed", "approved_by": "A. Lee"}
    floors = [{"metric": "ndcg@10", "at_least": 0.9}]
    poor = Interval(0.5, 0.4, 0.6)
    valid = _one(_policy(floors=floors, waivers=[{**waiver, "until": "2026-11-25"}]), poor)
    ended = _one(_policy(floors=floors, waivers=[{**waiver, "until": "2026-11-24"}]), poor)
    assert (valid.outcome, ended.outcome) == ("waived", "fail")
    assert "A. Lee" in valid.reason
    assert "ended on 2026-11-24" in ended.reason


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({}, "lets everything pass"),
        ({"floors": [{"metric": "x"}]}, "either at_least or at_most"),
        ({"floors": [{"metric": "x", "at_least": 1}, {"metric": "x", "at_least": 2}]}, "stands twice"),
        ({"floors": [{"metric": "x", "atleast": 1}]}, "Extra inputs"),
        (
            {
                "floors": [{"metric": "x", "at_least": 1}],
                "waivers": [
                    {"check": "floor y", "reason": "long enough to be one", "approved_by": "B", "until": "2027-01-01"}
                ],
            },
            "names no check",
        ),
    ],
)
def test_a_policy_that_checks_nothing_or_something_else_is_refused(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Policy.model_validate(policy)


def test_one_failure_outweighs_what_cannot_be_told() -> None:
    assert verdict_of([Checked("a", "inconclusive", ""), Checked("b", "fail", "")]) == "fail"
    assert verdict_of([Checked("a", "inconclusive", ""), Checked("b", "waived", "")]) == "inconclusive"
    assert verdict_of([Checked("a", "pass", ""), Checked("b", "waived", "")]) == "pass"
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    assert not set(EXIT_CODES.values()) & {1, 2, 3, 4, 130}


def test_junit_shows_each_check_with_its_outcome() -> None:
    checked = [Checked("a", "pass", "ok"), Checked("b", "fail", "<low>"), Checked("c", "inconclusive", "?")]
    suite = ET.fromstring(junit_xml("smoke", checked))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    failure = suite.find("./testcase[@name='b']/failure")
    assert failure is not None
    assert failure.get("message") == "<low>"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "release.key"
    records.create_key(path)
    return path


def test_a_signed_record_is_verified_with_its_public_key(tmp_path: Path, key: Path) -> None:
    path = tmp_path / "decision.json"
    records.write(records.sign({"verdict": "pass", "mean": 0.7}, key), path)
    assert records.verify(path, tmp_path / "release.key.pub")["verdict"] == "pass"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.proves("SOC 2 CC8.1")
def test_any_change_of_a_record_is_found(tmp_path: Path, key: Path) -> None:
    path = tmp_path / "decision.json"
    records.write(records.sign({"verdict": "fail", "checks": [{"name": "a", "mean": 0.5}]}, key), path)
    changed = json.loads(path.read_text())
    changed["verdict"] = "pass"
    path.write_text(json.dumps(changed))
    with pytest.raises(records.RecordRejected, match="changed after"):
        records.verify(path)


@pytest.mark.proves("SOC 2 CC8.1")
def test_a_record_signed_by_somebody_else_is_refused(tmp_path: Path, key: Path) -> None:
    stranger = tmp_path / "stranger.key"
    records.create_key(stranger)
    path = tmp_path / "decision.json"
    records.write(records.sign({"verdict": "pass"}, stranger), path)
    with pytest.raises(records.RecordRejected, match="another key"):
        records.verify(path, tmp_path / "release.key.pub")


def test_no_key_and_no_record_is_ever_overwritten(tmp_path: Path, key: Path) -> None:
    path = tmp_path / "decision.json"
    records.write({"verdict": "pass"}, path)
    with pytest.raises(ConfigurationError, match="never overwritten"):
        records.write({"verdict": "fail"}, path)
    with pytest.raises(ConfigurationError, match="there already"):
        records.create_key(key)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"public_key": 1, "signature": "x"}', "\x00"])
def test_what_is_no_record_is_refused_with_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "decision.json"
    path.write_text(content)
    with pytest.raises(records.RecordRejected, match="no signed decision"):
        records.verify(path)
