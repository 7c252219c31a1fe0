"""Follow-ups become questions that stand alone; questions that do are left as they are."""

from __future__ import annotations

import pytest

from rag.errors import QuestionError
from rag.query.events import Turn
from rag.query.questions import clean_question
from rag.query.rewriting import stand_alone
from rag.query.words import also_asked, stems

DEADLINES = "What are the error-resolution deadlines for an unauthorised electronic transfer?"
TAX = "What was Apple's effective tax rate in Q3 2023?"


def history(*questions: str) -> list[Turn]:
    return [turn for each in questions for turn in (Turn("user", each), Turn("assistant", "An answer. [1]"))]


@pytest.mark.parametrize(
    ("earlier", "question", "expected"),
    [
        (DEADLINES, "and for savings accounts?", f"{DEADLINES[:-1]} for savings accounts?"),
        (DEADLINES, "What about new accounts?", f"{DEADLINES[:-1]} for new accounts?"),
        (DEADLINES, "if the account is new?", f"{DEADLINES[:-1]} if the account is new?"),
        (
            DEADLINES,
            "Can they be extended?",
            "Can the error-resolution deadlines for an unauthorised electronic transfer be extended?",
        ),
        (TAX, "and in Q2 2022?", "What was Apple's effective tax rate in Q2 2022?"),
        (TAX, "What about NVIDIA?", "What was NVIDIA's effective tax rate in Q3 2023?"),
        ("What is the fee of the Gold account?", "And the Silver account?", "What is the fee of the Silver account?"),
        (DEADLINES, "why?", f"why, regarding: {DEADLINES}"),
        (
            "How long does a bank have to look into it?",
            "Can it be longer?",
            "Can it be longer, regarding: How long does a bank have to look into it?",
        ),
    ],
)
def test_a_follow_up_takes_what_it_lacks_from_the_question_before(earlier: str, question: str, expected: str) -> None:
    assert stand_alone(question, history(earlier)) == expected


def test_a_follow_up_of_a_follow_up_reaches_the_first_question() -> None:
    asked = history("What is provisional credit?", "When must it be given?")
    expected = "When must provisional credit be given for point-of-sale transactions?"
    assert stand_alone("and for point-of-sale transactions?", asked) == expected


@pytest.mark.parametrize(
    "question",
    [
        "What is a remittance transfer?",
        "How much can I lose if my debit card is stolen?",
        "What happens if a customer disputes a transfer because it was unauthorized?",
        "For how long must a creditor retain applications for business credit that it denied?",
    ],
)
def test_a_question_that_stands_alone_is_not_touched(question: str) -> None:
    assert stand_alone(question, history(DEADLINES)) == question


def test_without_earlier_questions_nothing_is_rewritten() -> None:
    assert stand_alone("and for savings accounts?", [Turn("assistant", "Hello.")]) == "and for savings accounts?"


@pytest.mark.parametrize("question", ["", "   ", "\n\t", "\x00\x01", "\u200b\u2060\ufeff", "?!…"])
def test_nothing_to_ask_is_refused_in_one_sentence(question: str) -> None:
    with pytest.raises(QuestionError, match="empty; ask something"):
        clean_question(question, 4000)


def test_a_long_question_is_refused_with_its_length_and_the_limit() -> None:
    with pytest.raises(QuestionError, match="4,001 characters and at most 4,000"):
        clean_question("a" * 4001, 4000)


def test_invisible_characters_go_and_composed_ones_stay() -> None:
    assert clean_question(" What\u200b is\x00 a cafe\u0301\u202e?\u2028 ", 4000) == "What is a café?"


@pytest.mark.parametrize(
    ("british", "american"),
    [("unauthorised", "unauthorized"), ("cheques", "checks"), ("honoured", "honored"), ("cancelled", "canceled")],
)
def test_british_and_american_spellings_are_one_word(british: str, american: str) -> None:
    assert stems(british) == stems(american)


def test_customers_words_bring_the_words_of_rules() -> None:
    assert {"terminal", "day", "days"} <= set(also_asked("What is the deadline at an ATM?").split())
    assert also_asked("What is an electronic fund transfer?") == ""
