"""What the chat says when there is no answer: kind, useful, and without internals."""

from __future__ import annotations

import pytest

from ui import errors, wording
from ui.wire import Answer

SECRET = "psycopg.OperationalError at 10.0.0.7"
FAILURES = [
    errors.BackendDown(SECRET),
    errors.BackendBusy(SECRET, 7),
    errors.BackendTimeout(SECRET),
    errors.StreamCut(SECRET),
    errors.QuestionRejected(SECRET, ""),
    errors.SourceNotFound(SECRET),
    errors.BackendFailed(SECRET),
]


@pytest.mark.parametrize("problem", FAILURES, ids=lambda problem: type(problem).__name__)
def test_no_failure_shows_its_cause(problem: errors.BackendError) -> None:
    assert "10.0.0.7" not in wording.failure(problem, "abcd1234")


def test_all_failures_read_differently() -> None:
    assert len({wording.failure(problem, "abcd1234") for problem in FAILURES}) == len(FAILURES)


@pytest.mark.parametrize("problem", [FAILURES[0], FAILURES[2], FAILURES[3], FAILURES[6]])
def test_what_an_operator_must_look_up_has_a_reference(problem: errors.BackendError) -> None:
    assert "Reference abcd1234" in wording.failure(problem, "abcd1234")


def test_the_advice_of_the_api_is_shown_as_text() -> None:
    said = wording.failure(errors.QuestionRejected("422", "Use [fewer](https://e.example) words."), "r")
    assert said == "Use \\[fewer\\]\\(https\u2060\\:\\/\\/e\\.example\\) words\\."


def test_the_wait_of_a_busy_api_is_named() -> None:
    assert "7 s" in wording.failure(errors.BackendBusy("429", 7), "r")


def test_a_partial_answer_says_that_it_is_one_and_other_texts_stay_as_they_are() -> None:
    assert wording.finished(Answer(id="a", text="Half.", status="partial")) == f"Half.\n\n{wording.PARTIAL_NOTE}"
    for status in ("answered", "refused", "escalated"):
        assert wording.finished(Answer(id="a", text="Text.", status=status)) == "Text."


def test_what_is_no_answer_does_not_look_like_one() -> None:
    assert wording.sign(Answer(id="a", text="No.", status="refused", reason="not_in_documents")) == "search-x"
    assert wording.sign(Answer(id="a", text="Call us.", status="escalated")) == "user-round"
    assert wording.sign(Answer(id="a", text="Hello.", status="refused", reason="small_talk")) == ""
    assert wording.sign(Answer(id="a", text="Half.", status="partial")) == ""


def test_a_question_that_is_too_long_is_told_both_numbers() -> None:
    assert "12,345" in wording.too_long(12345, 4000)
    assert "4,000" in wording.too_long(12345, 4000)
