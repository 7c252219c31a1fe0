"""`banksight evaluate run --target`: a running service is measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.runs.records import ItemRecord, RunInfo
from evaluations.runs.store import RunStore

SUITE = """\
name: mine
title: t
data:
  - {name: q, format: questions, path: q.jsonl, origin: here, licence: ours}
metrics: [hit@5, document_recall@10, citation_recall, correct, brier]
"""
CONVERSATION = """\
name: talk
title: t
data:
  - name: q
    format: conversations
    path: talk.jsonl
    origin: here
    licence: ours
    corpus: {kind: contexts}
metrics: [ndcg@10, citation_recall]
"""


def _evaluate(folder: Path, *arguments: str) -> tuple[RunInfo, list[ItemRecord], list[dict[str, float]]]:
    command = [sys.executable, "-m", "rag.cli", "evaluate", "run", *arguments, "--runs", str(folder / "runs")]
    done = subprocess.run(
        command, env={**os.environ, DATA_VARIABLE: str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    store = RunStore.open(folder / "runs")
    try:
        info = store.runs()[-1]
        return info, store.items(info.id), [each.metrics for each in store.scores(info.id)]
    finally:
        store.close()


def test_pages_that_the_service_found_and_cited_are_scored(server: Any, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "question": "Within how many business days must a bank determine whether an error occurred?",
         "quotes": ["10 business days"], "pages": ["electronic-transfers 1"]},
        {"id": "b", "question": "Who won the football world cup in 1954?", "quotes": []},
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(SUITE)
    info, records, scores = _evaluate(tmp_path, str(tmp_path / "mine.yaml"), "--target", server.url)
    assert (info.state, info.left_out) == ("complete", ())
    assert {each.item: each.in_corpus for each in records} == {"q/a": True, "q/b": None}
    [found] = [each for each in scores if "hit@5" in each]
    assert (found["hit@5"], found["document_recall@10"], found["citation_recall"], found["correct"]) == (1, 1, 1, 1)
    passages = next(each.produced.passages for each in records if each.item == "q/a")
    assert any(each.in_prompt for each in passages)


def test_conversations_are_scored_by_documents_that_the_service_names_as_the_labels_do(
    server: Any, tmp_path: Path
) -> None:
    row = {
        "id": "t", "answerable": True, "contexts": [{"id": "opening-hours", "text": "x"}],
        "turns": [
            {"role": "user", "content": "What are the opening hours of branches?"},
            {"role": "assistant", "content": "Branches open at 9:00."},
            {"role": "user", "content": "When do branches close on business days?"},
        ],
    }  # fmt: skip
    (tmp_path / "talk.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "talk.yaml").write_text(CONVERSATION)
    _, _, [scores] = _evaluate(tmp_path, str(tmp_path / "talk.yaml"), "--target", server.url)
    assert scores["ndcg@10"] > 0
    assert scores["citation_recall"] == 1


@pytest.mark.parametrize("api", [(), ("--api", "openai", "--model", "banksight")])
def test_the_smoke_suite_runs_over_both_apis(server: Any, tmp_path: Path, api: tuple[str, ...]) -> None:
    info, records, scores = _evaluate(tmp_path, "smoke", "--target", server.url, "--limit", "6", *api)
    assert (info.state, len(records), [each.failure for each in records]) == ("complete", 6, [""] * 6)
    assert all("quoted" in each or "refusal_accuracy" in each for each in scores)
    assert info.left_out == (("groundedness", "number_grounding", "brier") if api else ())
