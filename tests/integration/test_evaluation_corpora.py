"""Data sets become corpora that are searched like users' documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.runs.running import carry_out, planned, start
from evaluations.runs.store import RunStore
from evaluations.suites.schema import Corpus, DataSource, Suite

SECRET = "Vinicio Salumae"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    text = f"The payroll clerk {SECRET} received a bonus in March."
    start_of_it = text.index(SECRET)
    span = {"start": start_of_it, "end": start_of_it + len(SECRET), "value": SECRET}
    rows = [
        {"id": "locked", "text": text, "spans": [span]},
        {"id": "open", "text": "The canteen is closed on Mondays.", "spans": []},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Suite(name="mine", title="t", data=(_source(0.0),), metrics=("cited_share",))


def _source(share: float) -> DataSource:
    corpus = Corpus(kind="rows", access="nobody", access_share=share)
    return DataSource(name="p", format="questions", path="p.jsonl", origin="here", licence="ours", corpus=corpus)


def _answers(suite: Suite, folder: Path) -> dict[str, str]:
    store = RunStore.open(folder / "runs")
    try:
        with planned(suite, folder / "corpora", show=lambda _: None) as plan:
            run = carry_out(plan, store, start(plan, store, None, "missing"), "missing", lambda _: lambda: None)
        return {
            each.item: " ".join([each.produced.text, *(passage.text for passage in each.produced.passages)])
            for each in store.items(run.id)
        }
    finally:
        store.close()


def test_rows_with_an_access_label_are_not_found_and_the_others_are(suite: Suite, tmp_path: Path) -> None:
    assert SECRET in _answers(suite, tmp_path)["p/locked"]
    locked = suite.model_copy(update={"data": (_source(1.0),)})
    assert SECRET not in _answers(locked, tmp_path)["p/locked"]


def test_a_search_is_scored_by_the_data_sets_own_passages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    passages = {"a": "Fees must be disclosed in writing.", "b": "Complaints are answered within eight weeks."}
    rows = [{"_id": key, "title": f"§ {key} — Rules", "text": text} for key, text in passages.items()]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "When are complaints answered?"}) + "\n")
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n")
    source = DataSource(name="r", format="beir", path=".", origin="here", licence="ours", corpus=Corpus(kind="beir"))
    suite = Suite(name="mine", title="t", task="search", data=(source,), metrics=("mrr@10", "document_hit@1"))
    store = RunStore.open(tmp_path / "runs")
    with planned(suite, tmp_path / "corpora", show=lambda _: None) as plan:
        run = carry_out(plan, store, start(plan, store, None, "missing"), "missing", lambda _: lambda: None)
    [scores] = store.scores(run.id)
    assert scores.metrics == {"mrr@10": 1.0, "document_hit@1": 1.0}
    assert run.fingerprints.snapshot
    store.close()
