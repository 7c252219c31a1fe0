"""Drafts from production and from documents: consented, scrubbed, flagged, and never over what a person wrote."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluations.datasets.loading import load
from evaluations.drafting.collecting import collect
from evaluations.drafting.review import COLUMNS, Draft, add_drafts, read_rows
from evaluations.drafting.synthesizing import SourcePage, by_model, by_rules
from evaluations.suites.schema import DataSource
from rag.errors import ConfigurationError
from rag.testing import ScriptedLLM


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Texts with the same words are the same vector."""
    words = sorted({word for text in texts for word in text.lower().split()})
    rows = np.array([[float(word in text.lower().split()) for word in words] for text in texts], dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def export(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "feedback.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


ASKED = {"question": "What does it cost?", "status": "answered", "consent": True}


def test_what_went_wrong_is_collected_and_what_went_well_is_not(tmp_path: Path) -> None:
    found = collect(
        export(
            tmp_path,
            ASKED | {"question": "Down?", "rating": "down"},
            ASKED | {"question": "Refused?", "status": "refused", "reason": "not_in_documents"},
            ASKED | {"question": "Fine?", "rating": "up"},
            ASKED | {"question": "Hello", "status": "refused", "reason": "small_talk"},
        )
    )
    assert [(each.question, each.why) for each in found.drafts] == [
        ("Down?", "thumbs down: answered"),
        ("Refused?", "unanswered: not_in_documents"),
    ]
    assert found.fine == 2


@pytest.mark.parametrize("consent", [{"consent": False}, {}])
def test_without_consent_nothing_is_kept(tmp_path: Path, consent: dict[str, bool]) -> None:
    found = collect(export(tmp_path, {"question": "Secret?", "status": "refused", **consent}))
    assert (found.drafts, found.without_consent) == ((), 1)


def test_personal_data_is_scrubbed_from_question_and_comment(tmp_path: Path) -> None:
    line = {"question": "Is 4111 1111 1111 1111 blocked?", "rating": "down", "comment": "mail me at a@b.example"}
    (draft,) = collect(export(tmp_path, ASKED | line)).drafts
    assert (draft.question, draft.why) == ("Is [card] blocked?", "thumbs down: mail me at [email]")


@pytest.mark.parametrize(
    ("broken", "says"),
    [('{"question": "x"', "line 2: this is not JSON"), ('{"status": "answered"}', "line 2: question: Field required")],
)
def test_a_broken_line_is_named_and_nothing_is_taken(tmp_path: Path, broken: str, says: str) -> None:
    path = export(tmp_path, ASKED | {"rating": "down"})
    path.write_text(path.read_text(encoding="utf-8") + broken + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says):
        collect(path)


def test_what_a_person_wrote_into_the_review_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    assert add_drafts(path, [Draft("What is the fee?", why="thumbs down")], embed) == 1
    rows = read_rows(path)
    rows[0] |= {"accept": "yes", "answers": "5 dollars"}
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    assert add_drafts(path, [Draft("what is  the FEE?"), Draft("Who signs the form?")], embed) == 1
    kept, added = read_rows(path)
    assert (kept["accept"], kept["answers"]) == ("yes", "5 dollars")
    assert added["question"] == "Who signs the form?"


def test_accepted_rows_are_items_of_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    add_drafts(path, [*by_rules([PAGE]), Draft("Is [card] blocked?", why="thumbs down")], embed)
    rows = [row | {"accept": "yes" if row["answers"].startswith("10") else "no"} for row in read_rows(path)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    accepted = DataSource(
        name="mine", format="csv", path=str(path), place="shipped", origin="written here", licence="ours",
        where={"accept": "yes"},
    )  # fmt: skip
    (item,) = load(accepted, 0).items
    assert (item.wanted.answers, item.wanted.answerable) == (("10 business days",), True)
    assert dict(item.wanted.relevant) == {"regulation-e 3": 1.0}


def test_near_duplicates_of_items_rows_and_each_other_are_flagged(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    add_drafts(path, [Draft("alpha beta gamma")], embed)
    drafts = [Draft("gamma beta alpha"), Draft("delta epsilon"), Draft("epsilon delta"), Draft("zeta eta")]
    add_drafts(path, drafts, embed, known=[("q7", "eta zeta")])
    flags = [row["near_duplicate_of"] for row in read_rows(path)]
    assert flags == ["", Draft("alpha beta gamma").id, "", Draft("delta epsilon").id, "q7"]


def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path: Path) -> None:
    add_drafts(tmp_path / "review.csv", [Draft('=HYPERLINK("http://evil.example")')], embed)
    assert read_rows(tmp_path / "review.csv")[0]["question"].startswith("'=")


def test_a_file_that_is_no_review_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="column 'accept' is missing"):
        add_drafts(path, [Draft("What?")], embed)
    assert path.read_text(encoding="utf-8") == "a,b\n1,2\n"


PAGE = SourcePage(
    "regulation-e 3",
    "Regulation E",
    "Access device means a card, code, or other means of access to a consumer's account. "
    "A financial institution shall determine whether an error occurred within 10 business days of receiving a notice. "
    "A charge for a replacement card may not exceed $25. The weather was fine.",
)


def test_rules_draft_definitions_limits_and_amounts_with_their_place() -> None:
    drafts = list(by_rules([PAGE]))
    assert [(each.question, each.answers) for each in drafts] == [
        ("What does “Access device” mean in Regulation E?",
         "a card, code, or other means of access to a consumer's account"),
        ("Within how many business days must a financial institution determine whether an error occurred?",
         "10 business days"),
        ("What amount may a charge for a replacement card not exceed?", "$25"),
    ]  # fmt: skip
    assert {each.pages for each in drafts} == {"regulation-e 3"}


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("Question: How much may a replacement card cost?\nAnswer: may not exceed $25", 1),
        ("Question: How much may a replacement card cost?\nAnswer: 30 dollars", 0),
        ("I think the passage is about cards.", 0),
    ],
)
def test_a_model_s_draft_is_kept_only_when_its_answer_stands_in_the_page(reply: str, kept: int) -> None:
    assert len(list(by_model([PAGE], ScriptedLLM.of(reply)))) == kept
