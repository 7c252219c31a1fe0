"""Alert rules and dashboards: they fire when they should, and ask only for metrics that we export."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bentos import dashboards
from rag.operations.exposition import series_names

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "configs" / "deploy" / "prometheus"
OF_PROMETHEUS = {"up"}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed; install the package prometheus")
    return found


def _run(*command: str, folder: Path = PROMETHEUS) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((PROMETHEUS / "rules" / "banksight.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def _metrics_in(query: str) -> set[str]:
    """The names in a query that are metrics: no functions, words of PromQL, labels or what stands in quotes."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|(by|on|ignoring|without)\s*\([^)]*\)', " ", query)
    words = {match[0] for match in _NAME.finditer(bare) if not bare[match.end() :].lstrip().startswith("(")}
    return {word for word in words if word not in {"and", "or", "unless", "by", "on", "bool"}}


def test_prometheus_takes_the_configuration_and_the_rules(promtool: str) -> None:
    assert "SUCCESS" in _run(promtool, "check", "config", "prometheus.yml")


@pytest.mark.proves("PCI DSS 10.7.2", "SOC 2 CC7.2", "ISO A.8.16")
def test_every_alert_fires_when_it_should_and_keeps_still_when_not(promtool: str) -> None:
    assert "SUCCESS" in _run(promtool, "test", "rules", "banksight.yml", "days.yml", folder=PROMETHEUS / "tests")


def test_every_alert_has_a_unit_test_that_makes_it_fire() -> None:
    tests = [
        each for path in (PROMETHEUS / "tests").glob("*.yml") for each in yaml.safe_load(path.read_text())["tests"]
    ]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in _rules() if "alert" in rule}


def test_every_alert_has_a_severity_a_sentence_and_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    anchors = {"docs/operations.md#" + heading.lower().replace(" ", "-") for heading in headings}
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["annotations"]["runbook_url"] in anchors


def test_alerts_ask_only_for_what_we_export_or_record() -> None:
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    asked = {name for rule in _rules() for name in _metrics_in(rule["expr"])}
    assert len(asked) > 10
    assert asked <= series_names() | recorded | OF_PROMETHEUS


def test_dashboards_ask_only_for_what_we_export_or_record() -> None:
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    asked = {name for query in dashboards.queries() for name in _metrics_in(query)}
    assert len(asked) > 20
    assert asked <= series_names() | recorded | OF_PROMETHEUS


def test_prometheus_parses_every_query_of_the_dashboards(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{place}", "expr": query} for place, query in enumerate(dashboards.queries())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in _run(promtool, "check", "rules", str(path))


def test_a_misspelt_metric_in_a_query_would_be_noticed() -> None:
    query = 'sum by (le, stage) (rate(answers_totl{status="answered"}[5m])) / banksight:error_ratio:rate1h > 0.5'
    assert _metrics_in(query) == {"answers_totl", "banksight:error_ratio:rate1h"}


def test_committed_dashboards_are_those_that_the_program_writes(tmp_path: Path) -> None:
    dashboards.main(tmp_path)
    assert {each.name: each.read_text() for each in dashboards.FOLDER.iterdir()} == {
        each.name: each.read_text() for each in tmp_path.iterdir()
    }


def test_dashboards_have_an_id_of_their_own_and_panels_that_do_not_overlap() -> None:
    found = [json.loads(path.read_text()) for path in dashboards.FOLDER.iterdir()]
    assert len({each["uid"] for each in found}) == len(found)
    for each in found:
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in each["panels"]]
        assert len(set(places)) == len(places)
