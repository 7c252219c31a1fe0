"""`banksight evaluate` over stored runs, as an analyst and a CI server use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from evaluations.commands.group import evaluate
from evaluations.compare.statistics import Interval
from evaluations.gate.records import RecordRejected
from evaluations.judge.agreement import Agreement
from evaluations.judge.checking import JudgeCheck, write_check
from evaluations.runs.records import Fingerprints, ItemRecord, ItemScores, Produced
from evaluations.runs.store import RunStore
from evaluations.suites.schema import DataSource, Suite
from rag.errors import ConfigurationError

SUITE = Suite(
    name="mine",
    title="My suite",
    data=(DataSource(name="bank", format="questions", path="x.jsonl", origin="written here", licence="CC0-1.0"),),
    metrics=("correct",),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = RunStore.open(tmp_path / "runs")
    yield opened
    opened.close()


def stored(store: RunStore, values: list[float], *, data: str = "d1", complete: bool = True, judged: str = "") -> str:
    info = store.create("mine", Fingerprints("s1", data), "pipeline", len(values))
    store.keep_suite(info.id, SUITE.model_dump_json())
    scores = []
    for number, value in enumerate(values):
        produced = Produced(f"answer {number}", "answered", timings={"total": 0.1}, confidence=0.9)
        record = ItemRecord(f"q{number}", 0, "ok", f"question {number}", {"data": "bank"}, produced=produced)
        store.append_item(info.id, record)
        metrics, detail = {"correct": value}, {"cause": "" if value else "not used"}
        if judged:
            metrics, detail = {**metrics, "judge_faithfulness": value}, {**detail, "judge_faithfulness": judged}
        scores.append(ItemScores(f"q{number}", 0, metrics, detail))
    store.put_scores(info.id, scores)
    store.finish(info.id, "complete" if complete else "interrupted")
    return info.id


def run(folder: Path, *arguments: str, code: int | None = 0) -> Result:
    result = CliRunner().invoke(evaluate, [*arguments, "--runs", str(folder / "runs")], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result


def policy(folder: Path, text: str) -> str:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


FLOOR = "floors:\n  - {metric: correct, at_least: 0.5}\n"
NO_WORSE = "non_inferiority:\n  - {metric: correct, margin: 0.05}\n"


def test_compare_says_which_version_is_better(store: RunStore, tmp_path: Path) -> None:
    before, after = stored(store, [0.0] * 20), stored(store, [1.0] * 20)
    shown = run(tmp_path, "compare", before, after).output
    assert "20/0/0" in shown
    assert "better" in shown


def test_compare_lists_what_got_worse_and_what_it_cannot_tell(store: RunStore, tmp_path: Path) -> None:
    before, after = stored(store, [1.0, 0.0, 1.0, 0.0]), stored(store, [0.0, 1.0, 1.0, 0.0])
    shown = run(tmp_path, "compare", before, after).output
    assert "q0: correct 1.000 → 0.000" in shown
    assert "Cannot tell" in shown


def test_compare_refuses_other_data_unless_told(store: RunStore, tmp_path: Path) -> None:
    before, after = stored(store, [1.0] * 4), stored(store, [1.0] * 4, data="d2")
    with pytest.raises(ConfigurationError, match="different data"):
        run(tmp_path, "compare", before, after)
    shown = run(tmp_path, "compare", before, after, "--different-data", "--json").output
    assert "different data" in json.loads(shown)["note"]


def test_trend_shows_the_last_complete_runs_and_notes_other_data(store: RunStore, tmp_path: Path) -> None:
    stored(store, [0.0, 1.0], data="d0")
    stored(store, [0.0, 1.0], complete=False)
    stored(store, [1.0, 1.0])
    found = json.loads(run(tmp_path, "trend", "mine", "--json").output)
    assert found["metrics"] == {"correct": [0.5, 1.0]}
    assert len(found["notes"]) == 1


@pytest.mark.parametrize(("values", "code", "verdict"), [([1.0] * 8, 0, "pass"), ([0.0] * 8, 10, "fail")])
def test_gate_passes_and_fails_by_its_exit_code(
    store: RunStore, tmp_path: Path, values: list[float], code: int, verdict: str
) -> None:
    shown = run(tmp_path, "gate", stored(store, values), "--policy", policy(tmp_path, FLOOR), code=code).output
    assert shown.splitlines()[-1].startswith(f"{verdict}: ")


def test_gate_without_a_baseline_is_inconclusive(store: RunStore, tmp_path: Path) -> None:
    shown = run(tmp_path, "gate", stored(store, [1.0] * 8), "--policy", policy(tmp_path, NO_WORSE), code=11).output
    assert "there is no baseline" in shown


def test_a_signed_decision_approves_the_baseline_of_the_next_gate(store: RunStore, tmp_path: Path) -> None:
    key, record, junit = (str(tmp_path / name) for name in ("key", "record.json", "junit.xml"))
    CliRunner().invoke(evaluate, ["keys", "create", key], standalone_mode=False, catch_exceptions=False)
    first, second = stored(store, [1.0, 0.0] * 40), stored(store, [1.0, 0.0] * 40)
    signing = ("--key", key, "--by", "Ana Silva", "--record", record)
    run(tmp_path, "gate", first, "--policy", policy(tmp_path, FLOOR), *signing)
    against = ("--baseline", record, "--trust", f"{key}.pub", "--junit", junit)
    shown = run(tmp_path, "gate", second, "--policy", policy(tmp_path, NO_WORSE), *against, "--json").output
    assert json.loads(shown)["baseline"]["run"] == first
    assert ET.parse(junit).getroot().attrib["failures"] == "0"  # noqa: S314 - our own file
    checked = CliRunner().invoke(evaluate, ["keys", "verify", record], standalone_mode=False)
    assert "Ana Silva" in checked.output


def test_a_forged_decision_approves_nothing(store: RunStore, tmp_path: Path) -> None:
    key, record = str(tmp_path / "key"), tmp_path / "record.json"
    CliRunner().invoke(evaluate, ["keys", "create", key], standalone_mode=False, catch_exceptions=False)
    bad = stored(store, [0.0] * 8)
    signing = ("--key", key, "--by", "Ana", "--record", str(record))
    run(tmp_path, "gate", bad, "--policy", policy(tmp_path, FLOOR), *signing, code=10)
    record.write_text(record.read_text(encoding="utf-8").replace('"fail"', '"pass"'), encoding="utf-8")
    with pytest.raises(RecordRejected, match="changed after it was signed"):
        run(tmp_path, "gate", bad, "--policy", policy(tmp_path, NO_WORSE), "--baseline", str(record))


def test_gate_refuses_a_run_that_was_cut(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not complete"):
        run(tmp_path, "gate", stored(store, [1.0], complete=False), "--policy", policy(tmp_path, FLOOR))


def test_gate_names_the_line_of_a_wrong_policy(store: RunStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"policy\.yaml line 2: floors\.0\.at_lest: there is no such key"):
        run(tmp_path, "gate", stored(store, [1.0]), "--policy",
            policy(tmp_path, "floors:\n  - {metric: correct, at_lest: 0.5}\n"))  # fmt: skip


def test_gate_takes_a_judge_s_figures_only_after_its_check(store: RunStore, tmp_path: Path) -> None:
    judged = stored(store, [1.0] * 8, judged="f" * 64)
    by_judge = policy(tmp_path, "floors:\n  - {metric: judge_faithfulness, at_least: 0.5}\n")
    with pytest.raises(ConfigurationError, match="was never checked"):
        run(tmp_path, "gate", judged, "--policy", by_judge)
    weak = Agreement(100, 0.5, 0.6, 0.6, Interval(0.2, 0.1, 0.3), 0, 1.0)
    write_check(JudgeCheck("faithfulness", "f" * 64, "now", weak), tmp_path / "runs" / "judge-checks")
    with pytest.raises(ConfigurationError, match="agrees too little"):
        run(tmp_path, "gate", judged, "--policy", by_judge)
    strong = Agreement(100, 0.5, 0.95, 0.95, Interval(0.9, 0.8, 0.95), 0, 1.0)
    write_check(JudgeCheck("faithfulness", "f" * 64, "now", strong), tmp_path / "runs" / "judge-checks")
    run(tmp_path, "gate", judged, "--policy", by_judge)


@pytest.mark.parametrize(("form", "begins"), [("html", "<!doctype html>"), ("markdown", "# My suite"), ("json", "{")])
def test_report_of_a_run_against_another_in_each_form(store: RunStore, tmp_path: Path, form: str, begins: str) -> None:
    before, after = stored(store, [1.0] * 6), stored(store, [1.0] * 5 + [0.0])
    out = tmp_path / "report"
    run(tmp_path, "report", after, "--against", before, "--form", form, "--out", str(out))
    text = out.read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert "CC0-1.0" in text
    assert before in text


def test_report_of_a_cut_run_is_refused_or_says_so(store: RunStore, tmp_path: Path) -> None:
    cut, out = stored(store, [1.0] * 6, complete=False), tmp_path / "report.html"
    with pytest.raises(ConfigurationError, match="not complete"):
        run(tmp_path, "report", cut, "--out", str(out))
    run(tmp_path, "report", cut, "--partial", "--out", str(out))
    assert "This run is not complete" in out.read_text(encoding="utf-8")


def test_every_command_of_the_group_can_be_loaded() -> None:
    for name in evaluate.list_commands(None):  # type: ignore[arg-type]
        assert evaluate.get_command(None, name) is not None, name  # type: ignore[arg-type]
