from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluations.datasets.items import Item
from evaluations.datasets.loading import DATA_VARIABLE, load
from evaluations.datasets.rows import DataError
from evaluations.suites.schema import Corpus, DataSource
from rag.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))


def _source(path: str, form: str, **more: Any) -> DataSource:
    return DataSource(name="mine", format=form, path=path, origin="here", licence="ours", **more)


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _load(path: str, form: str, **more: Any) -> tuple[Item, ...]:
    return load(_source(path, form, **more), 1).items


def _beir(folder: Path, qrels: str = "query-id\tcorpus-id\tscore\nq1\tp1\t2\nq1\tp2\t0\n") -> None:
    _write(folder / "corpus.jsonl", [{"_id": key, "title": "§ 1 — Rules", "text": "words"} for key in ("p1", "p2")])
    _write(folder / "queries.jsonl", [{"_id": key, "text": "What?"} for key in ("q1", "q2")])
    (folder / "qrels.tsv").write_text(qrels)


def test_beir_questions_keep_their_grades_and_those_without_a_label_are_left_out(tmp_path: Path) -> None:
    _beir(tmp_path)
    [item] = _load(".", "beir")
    assert (item.id, item.wanted.relevant) == ("mine/q1", {"p1": 2.0, "p2": 0.0})
    assert len(item.wanted.documents) == 1


@pytest.mark.parametrize(
    ("qrels", "said"),
    [
        ("q1\tnowhere\t1\n", r"qrels\.tsv line 1: the passage 'nowhere' is not in corpus\.jsonl"),
        ("q9\tp1\t1\n", r"line 1: the question 'q9' is not in queries\.jsonl"),
        ("q1\tp1\n", r"line 1: a label is query-id"),
        ("q1\tp1\thigh\n", r"line 1: a label is query-id"),
        ("q1\tp1\t1\nq1\tp1\t2\n", r"line 2: 'q1' and 'p1' are labelled twice"),
        ("query-id\tcorpus-id\tscore\n", r"no item is left"),
    ],
)
def test_wrong_labels_are_refused_with_file_and_line(tmp_path: Path, qrels: str, said: str) -> None:
    _beir(tmp_path, qrels)
    with pytest.raises(DataError, match=said):
        _load(".", "beir")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"id": "1", "question": "a"}\n{"id": "2", \n', r"questions\.jsonl line 2: this is not JSON"),
        ('{"id": "1", "question": "a"}\n[1]\n', r"line 2: this is not a JSON object"),
        ('{"id": "1", "question": "a"}\n\n{"id": "1", "question": "b"}\n', r"line 3: the id '1' stands in line 1"),
        ('{"id": "1", "question": " "}\n', r"line 1: 'question' is missing or empty"),
        ('{"id": "1", "question": "a", "answerable": "perhaps"}\n', r"answerable is 'perhaps'"),
        ('{"id": "1", "question": "a", "pages": ["report"]}\n', r"line 1: the page 'report' is not a document and"),
        ("\n", r"it holds no rows"),
    ],
)
def test_a_wrong_row_is_refused_with_file_line_and_reason(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "questions.jsonl").write_text(content)
    with pytest.raises(DataError, match=said):
        _load("questions.jsonl", "questions")


def test_questions_carry_answers_pages_slices_and_their_own_names_for_fields(tmp_path: Path) -> None:
    row = {"key": 7, "question": "How much?", "gold": 5.5, "scale": "million", "kind": ["a", "b"]}
    _write(tmp_path / "q.jsonl", [{**row, "evidence": [{"doc_name": "3M_2022", "page_index": 4}]}])
    names = {"id": "key", "answer": "gold", "pages": "evidence"}
    [item] = _load("q.jsonl", "questions", fields=names, slices=("kind",), answerable=True)
    assert item.wanted.answers == ("5.5",)
    assert item.wanted.relevant == {"3M_2022 5": 1.0}
    assert item.wanted.documents == {"3M_2022"}
    assert item.wanted.answerable is True
    assert item.slices == {"data": "mine", "kind": "a, b"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_is_read_whatever_separates_its_cells(tmp_path: Path, delimiter: str) -> None:
    lines = [["id", "question", "answers", "pages", "answerable"], ["1", "How?", "a | b", "Terms 3|Terms 4", "yes"]]
    text = "\n".join(delimiter.join(cells) for cells in lines)
    (tmp_path / "q.csv").write_text("\ufeff" + text, encoding="utf-8")
    [item] = _load("q.csv", "csv")
    assert (item.id, item.wanted.answers, item.wanted.answerable) == ("mine/1", ("a", "b"), True)
    assert set(item.wanted.relevant) == {"Terms 3", "Terms 4"}


def test_a_spreadsheet_row_with_too_few_cells_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("id,question\n1\n")
    with pytest.raises(DataError, match=r"q\.csv line 2: it has not as many cells as the header"):
        _load("q.csv", "csv")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_bytes("id,question\n1,Übersicht\n".encode("latin-1"))
    with pytest.raises(DataError, match="it is not UTF-8"):
        _load("q.csv", "csv")


def test_a_conversation_asks_its_last_turn_and_brings_its_passages(tmp_path: Path) -> None:
    turns = [("user", "What is A?"), ("agent", "A thing."), ("user", "And B?")]
    row = {"id": "c", "turns": [{"speaker": who, "text": text} for who, text in turns], "answerable": "partial"}
    _write(tmp_path / "c.jsonl", [{**row, "contexts": [{"id": "p", "text": "B is."}], "answer": "B is."}])
    data = load(_source("c.jsonl", "conversations", corpus=Corpus(kind="contexts")), 1)
    [item] = data.items
    assert (item.question, item.history) == ("And B?", (("user", "What is A?"), ("assistant", "A thing.")))
    assert [passage.key for passage in data.passages] == ["p"]
    assert set(item.wanted.relevant) == {"p"}


def test_a_statement_gets_the_table_and_the_paragraphs_of_its_context(tmp_path: Path) -> None:
    _write(tmp_path / "ctx.jsonl", [{"context_id": "c", "table": [["", "2019"], ["Rate", "4 %"]], "paragraphs": ["x"]}])
    row = {"id": "s", "statement": "4 %", "label": "supported", "context_id": "c"}
    _write(tmp_path / "s.jsonl", [row])
    [item] = _load("s.jsonl", "statements", contexts="ctx.jsonl")
    assert item.evidence == ("|  | 2019 |\n| Rate | 4 % |", "x")
    assert item.wanted.label == "supported"
    _write(tmp_path / "s.jsonl", [{**row, "context_id": "d"}])
    with pytest.raises(DataError, match=r"line 1: the context 'd' is not in ctx\.jsonl"):
        _load("s.jsonl", "statements", contexts="ctx.jsonl")


def test_personal_data_of_locked_rows_are_forbidden_and_cut_out_of_the_question(tmp_path: Path) -> None:
    row = {"id": "p", "text": "Pay Maria Gomez at once", "spans": [{"start": 4, "end": 15, "value": "Maria Gomez"}]}
    _write(tmp_path / "p.jsonl", [row])
    corpus = Corpus(kind="rows", access="payroll", access_share=1.0)
    data = load(_source("p.jsonl", "questions", corpus=corpus), 1)
    assert data.items[0].question == "Pay … at once"
    assert data.items[0].wanted.forbidden == ("Maria Gomez",)
    assert data.passages[0].access == "payroll"


def test_what_an_open_row_says_too_is_not_forbidden(tmp_path: Path) -> None:
    rows = [
        {"id": "p", "text": "Pay Maria Gomez 7431 euros", "spans": [
            {"start": 4, "end": 15, "value": "Maria Gomez"}, {"start": 16, "end": 26, "value": "7431 euros"}]},
        {"id": "q", "text": "Yesterday MARIA\nGOMEZ called", "spans": []},
    ]  # fmt: skip
    _write(tmp_path / "p.jsonl", rows)
    half = Corpus(kind="rows", access="payroll", access_share=0.5)
    assert [each.access for each in load(_source("p.jsonl", "questions", corpus=half), 1).passages] == ["payroll", ""]
    assert [each.wanted.forbidden for each in _load("p.jsonl", "questions", corpus=half)] == [("7431 euros",), ()]


def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    _write(tmp_path / "q.jsonl", [{"id": str(number), "question": "?!a"} for number in range(50)])
    source = _source("q.jsonl", "questions", sample=5)
    assert load(source, 1).items == load(source, 1).items
    assert load(source, 1).items != load(source, 2).items


def test_missing_data_say_which_variable_names_their_folder() -> None:
    with pytest.raises(ConfigurationError, match=f"is not there; set {DATA_VARIABLE}"):
        _load("nowhere.jsonl", "questions")


def test_a_statement_with_an_unknown_label_is_refused(tmp_path: Path) -> None:
    row = {"id": "s", "statement": "The fee is 5 euros.", "evidence": ["The fee is 5 euros."], "label": "suported"}
    _write(tmp_path / "s.jsonl", [row])
    with pytest.raises(DataError, match=r"s\.jsonl line 1: the label is 'suported'; write supported or unsupported"):
        _load("s.jsonl", "statements")
