"""Retrieval data become documents whose pages are the labelled passages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluations.datasets.beir import RulebookConnector, read_collection
from evaluations.datasets.filings import read_filings
from evaluations.retrieval_benchmark import main

PASSAGES = (
    {"_id": "b-1", "title": "§ 1 Scope — Regulation B", "text": "It applies to creditors."},
    {"_id": "e-1", "title": "§ 1 Scope — Regulation E", "text": "It applies to transfers."},
    {"_id": "b-2", "title": "§ 2 Terms — Regulation B", "text": "Creditor means a lender."},
)


def lines(rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(lines(PASSAGES))
    (tmp_path / "queries.jsonl").write_text(lines([{"_id": "q1", "text": "Who?"}, {"_id": "q2", "text": "What?"}]))
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tb-1\t1\nq1\te-1\t0\nother\tb-1\t1\n")
    return tmp_path


def test_passages_of_one_rulebook_are_the_pages_of_one_document(folder: Path) -> None:
    [first, second] = read_collection(folder).rulebooks
    assert (first.title, first.passage_ids) == ("Regulation B", ("b-1", "b-2"))
    assert [page.headings[0][2] for page in first.pages] == ["§ 1 Scope", "§ 2 Terms"]
    assert second.passage_ids == ("e-1",)


def test_only_positive_labels_of_known_questions_count(folder: Path) -> None:
    collection = read_collection(folder)
    assert collection.relevant == {"q1": frozenset({"b-1"}), "q2": frozenset()}


def test_numbered_rulebooks_without_a_name_stay_apart(folder: Path) -> None:
    rows = [{"_id": str(n), "title": f"{n} 1.", "text": "x", "doc": n, "passage": "1."} for n in (1, 2)]
    (folder / "corpus.jsonl").write_text(lines(rows))
    found = read_collection(folder).rulebooks
    assert [(each.title, each.passage_ids) for each in found] == [("", ("1",)), ("", ("2",))]
    assert len({each.name for each in found}) == 2


def test_the_connector_reads_what_it_lists(folder: Path) -> None:
    connector = RulebookConnector(read_collection(folder))
    items = list(connector.list_items())
    documents = [connector.read(item) for item in items]
    assert [each.id for each in documents] == [each.id for each in items]
    assert documents[0].pages[1].text == "Creditor means a lender."
    assert documents[0].pages[1].start == len("It applies to creditors.") + 1


def test_evidence_pages_are_counted_from_one(tmp_path: Path) -> None:
    row = {"id": "f1", "question": "How much?", "evidence": [{"doc_name": "ACME_2022_10K", "page_index": 0}]}
    (tmp_path / "questions.jsonl").write_text(lines([row]))
    assert read_filings(tmp_path).evidence == {"f1": frozenset({("ACME_2022_10K", 1)})}


def test_missing_data_are_named_with_the_way_to_give_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "--only", "obliqa"])
    assert result.exit_code == 1
    assert "has no obliqa" in result.output
    assert "BANKSIGHT_EVALUATION_DATA" in result.output
