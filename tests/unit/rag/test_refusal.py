"""Whether to answer is a calibrated number; what is said instead names what was searched and claims nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag.domain import DocumentPage, Passage
from rag.query.asked import periods, read_question
from rag.query.evidence import gather
from rag.query.prompting import Prompt
from rag.query.refusal import AnswerabilityModel, refusal_text, shipped_model
from rag.query.selecting import rank_sentences, read_passages
from rag.query.signals import Signals, measure
from rag.query.small_talk import small_talk
from rag.testing import WordEncoder

TEXT = "The Company's effective tax rate was 12.5 percent in the third quarter of 2023. It was lower than before."
APPLE = Passage("c", "d", "Apple Inc. Form 10-Q, 2023", "Part I > Taxes", 4, "", 0, len(TEXT), TEXT, 0.9, 0.7, 9.0)
CONTACT = "Call the branch."


def signals(question: str, *passages: Passage) -> Signals:
    evidence = gather(passages, lambda document, number: DocumentPage(document, number, "", TEXT))
    prompt = Prompt(question, tuple(each.for_prompt() for each in evidence))
    ranked = rank_sentences(prompt, read_passages(prompt), WordEncoder())
    return measure(question, passages, evidence, ranked, lambda word: 1.0)


def test_a_company_that_nothing_is_about_is_seen() -> None:
    about_apple = signals("What was Apple's effective tax rate in 2023?", APPLE)
    about_intel = signals("What was Intel's effective tax rate in 2023?", APPLE)
    assert (about_apple.names_missing, about_intel.names_missing) == (0.0, 1.0)
    assert about_apple.passage_coverage > about_intel.passage_coverage


def test_a_period_and_a_section_that_nothing_is_about_are_seen() -> None:
    found = signals("What does § 1026.4 say about the tax rate in 2019?", APPLE)
    assert (found.periods_missing, found.sections_missing) == (1.0, 1.0)


def test_a_long_name_counts_as_held_only_where_one_passage_holds_all_of_it() -> None:
    held = signals("Was the Effective Tax rate of the Third Quarter lower?", APPLE)
    half = signals("Was the Effective Tax Treaty of the Third Quarter lower?", APPLE)
    assert (held.long_names_held, half.long_names_held) == (1.0, 0.5)
    assert signals("was it lower?", APPLE).long_names_held == 0.5


def test_the_share_of_one_document_is_neutral_where_only_one_was_found() -> None:
    others = [replace(APPLE, chunk_id=str(number), document_id=str(number % 3)) for number in range(5)]
    assert signals("What was the tax rate?", *others).document_share == pytest.approx(0.4)
    assert signals("What was the tax rate?", APPLE, replace(APPLE, chunk_id="e")).document_share == 0.5


def test_what_a_question_looks_like_is_seen() -> None:
    seen = signals("Can the rate exceed 12.5 percent?", APPLE)
    assert (seen.yes_or_no, seen.numbers_asked, seen.names_asked) == (1.0, 1.0, 0.0)
    assert signals("What was the effective rate of Apple?", APPLE).names_asked > 0.0


def test_a_passage_that_covers_more_than_the_others_opens_a_gap() -> None:
    off = replace(APPLE, chunk_id="e", title="Other", section="", text="Nothing about it.", score=0.2)
    apart = signals("What was the effective tax rate?", APPLE, off)
    assert apart.coverage_gap == pytest.approx(1.0)
    assert apart.second_score == pytest.approx(0.2)
    assert signals("What was the effective tax rate?", APPLE).coverage_gap == 0.0


@pytest.mark.proves("AISVS 7.2.1")
def test_passages_that_hold_the_words_score_higher_than_passages_that_do_not() -> None:
    asked = signals("What was the effective tax rate?", APPLE)
    strange = signals("How do I bake bread at home?", replace(APPLE, dense=0.1, lexical=None))
    model = shipped_model()
    assert model.probability(asked) > model.probability(strange)
    assert model.probability(strange) < model.threshold


@pytest.mark.proves("AISVS 7.2.1")
def test_the_shipped_model_is_a_probability_for_extreme_signals() -> None:
    count = len(Signals.names())
    for value in (-1e9, 0.0, 1e9):
        assert 0.0 <= shipped_model().probability(Signals(*[value] * count)) <= 1.0


def test_a_model_with_one_weight_is_the_logistic_function() -> None:
    count = len(Signals.names())
    model = AnswerabilityModel((0.0,) * count, (1.0,) * count, (1.0,) + (0.0,) * (count - 1), 0.0, 0.5)
    assert model.probability(Signals(*[0.0] * count)) == 0.5
    assert model.probability(Signals(1.0, *[0.0] * (count - 1))) == pytest.approx(1 / (1 + 2.718281828459045**-1))


def test_a_refusal_says_what_was_searched_and_what_came_closest() -> None:
    text = refusal_text([APPLE, APPLE], 38, ["filings", "regulations"], CONTACT)
    assert text.startswith("The documents do not answer this question. I searched 38 documents (filings, regulations).")
    assert text.count("“Taxes” in Apple Inc. Form 10-Q, 2023") == 1
    assert "12.5" not in text
    assert text.endswith(CONTACT)


def test_a_refusal_without_documents_says_that_there_are_none() -> None:
    assert refusal_text([], 0, [], CONTACT).startswith("I cannot answer this: there are no documents")


@pytest.mark.parametrize(
    "text", ["hi", "Hello there!", "Thanks a lot", "ok, thank you very much", "bye", "Are you a bot?"]
)
def test_small_talk_is_recognised(text: str) -> None:
    assert small_talk(text) is not None


@pytest.mark.parametrize(
    "text",
    ["hi, what is the wire fee?", "thank you, and for savings accounts?", "help me dispute a charge", "high risk"],
)
def test_a_question_with_a_greeting_is_still_a_question(text: str) -> None:
    assert small_talk(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quarter ended July 30, 2023", {"2023", "q2", "q2 2023"}),
        ("quarter ended December 31, 2022", {"2022", "q4", "q4 2022"}),
        ("quarter ended January 1, 2023", {"2023", "q4", "q4 2022"}),
        ("the third quarter of fiscal year 2024", {"2024", "q3", "q3 2024"}),
        ("within 60 days", set()),
    ],
)
def test_periods_are_read_from_questions_and_titles(text: str, expected: set[str]) -> None:
    assert periods(text) == expected


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What are the deadlines for errors?", "time"),
        ("How much can I lose?", "money"),
        ("What is an access device?", "definition"),
        ("Why did revenue fall?", "reason"),
        ("Can a lender ask about my age?", "duty"),
    ],
)
def test_the_kind_of_answer_is_read_from_the_question(question: str, kind: str) -> None:
    assert kind in read_question(question).types
