"""`banksight evaluate run` of a suite that runs others: each has a run of its own, and none stops another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evaluations.commands.group import evaluate
from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.runs.store import RunStore
from rag.errors import ConfigurationError

FEE = "The fee is 5 euros."
ONE = """
name: {name}
title: t
task: verify
data: [{{name: s, format: statements, path: {name}.jsonl, origin: here, licence: ours}}]
metrics: [verdict_accuracy]
"""


@pytest.fixture(autouse=True)
def _suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(ONE.format(name=name))
    included = json.dumps([str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml")])
    (tmp_path / "both.yaml").write_text(f"name: both\ntitle: t\nincludes: {included}\n")
    _statements(tmp_path, "first")


def _statements(folder: Path, name: str) -> None:
    row = {"id": "1", "statement": FEE, "evidence": [FEE], "label": "supported"}
    (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path / "runs")
    yield opened
    opened.close()


def run(folder: Path, *more: str) -> Result:
    arguments = ["run", str(folder / "both.yaml"), "--runs", str(folder / "runs"), *more]
    result = CliRunner().invoke(evaluate, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def test_the_others_are_run_when_one_cannot_be_and_that_is_told(tmp_path: Path, store: RunStore) -> None:
    (tmp_path / "first.jsonl").unlink()
    _statements(tmp_path, "second")
    result = run(tmp_path)
    assert result.return_value == 3
    assert "the suite first was not run" in result.output
    assert [(each.suite, each.state) for each in store.runs()] == [("second", "complete")]


def test_to_go_on_keeps_what_is_complete_and_begins_what_is_missing(tmp_path: Path, store: RunStore) -> None:
    assert run(tmp_path).return_value == 3
    _statements(tmp_path, "second")
    result = run(tmp_path, "--resume", "latest")
    assert result.return_value == 0
    assert "is complete, and nothing has changed since" in result.output
    assert [each.suite for each in store.runs()] == ["first", "second"]


def test_to_go_on_runs_again_what_was_complete_over_other_data(tmp_path: Path, store: RunStore) -> None:
    _statements(tmp_path, "second")
    run(tmp_path)
    (tmp_path / "first.jsonl").write_text((tmp_path / "first.jsonl").read_text().replace("5 euros", "6 euros"))
    run(tmp_path, "--resume", "latest")
    assert [each.suite for each in store.runs()] == ["first", "second", "first"]


def test_one_run_cannot_be_gone_on_with_by_several_suites(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="several suites have no run in common"):
        run(tmp_path, "--resume", "first-20260101")
