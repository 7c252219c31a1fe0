"""What a search looks for: terms, names in titles, and the statements behind a figure."""

from __future__ import annotations

import pytest

from rag.query.figures import where_it_stands
from rag.query.names import matches, named
from rag.storage.tokenizing import pairs, terms

FILINGS = {
    "a": "3M 2022 10K",
    "b": "AMERICANEXPRESS 2022 10K",
    "c": "JPMORGAN 2023Q2 10Q",
    "d": "JPMORGAN 2022Q2 10Q",
}


def test_terms_fold_case_accents_spelling_and_endings() -> None:
    assert terms("Unauthorised Transfers at the CAFÉ") == terms("unauthorized transfer cafe")


def test_references_stay_whole_and_thousands_lose_their_commas() -> None:
    assert terms("§ 1005.6(b) up to $1,500") == ["1005.6", "b", "up", "1500"]


@pytest.mark.proves("AISVS 2.1.1", "AISVS 2.1.2")
def test_invisible_characters_do_not_hide_a_term() -> None:
    assert terms("Rule \u200e5.1.1 over\u00addraft") == terms("Rule 5.1.1 overdraft")


def test_scripts_without_spaces_are_searched_by_character_and_pair() -> None:
    assert pairs(terms("信用卡")) == ["信_用", "用_卡"]


@pytest.mark.parametrize("text", ["", " \n", "the of and", "?!§()", "x" * 500])
def test_text_without_a_searchable_word_has_no_terms(text: str) -> None:
    assert terms(text) == []


def test_names_are_words_with_a_capital_or_a_digit() -> None:
    assert named("what does american express say in 2022") == {"2022"}
    assert {"americanexpress", "2022"} <= named("What does American Express's report say for FY2022?")


def test_the_title_that_bears_the_names_wins() -> None:
    found = matches("How did American Express do in FY2022?", FILINGS)
    assert max(found, key=lambda key: found[key]) == "b"
    assert found["c"] == 0.0


def test_quarter_and_year_tell_reports_of_one_company_apart() -> None:
    found = matches("What was the VaR of JPMorgan in Q2 2023?", FILINGS)
    assert found["c"] > found["d"] > found["a"]


def test_a_name_that_stands_in_every_title_says_nothing() -> None:
    assert set(matches("What did Acme do?", {"a": "Acme fees", "b": "Acme cards"}).values()) == {0.0}


def test_ordinary_words_name_no_document() -> None:
    titles = {"a": "Electronic Fund Transfers", "b": "Equal Credit Opportunity"}
    assert set(matches("who is liable for an electronic fund transfer?", titles).values()) == {0.0}


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("Has the quick ratio improved?", "balance sheet"),
        ("What is the FY2022 gross margin?", "cost of sales"),
        ("Compute EBITDA.", "depreciation"),
        ("How capital-intensive is the business?", "property, plant and equipment"),
    ],
)
def test_a_figure_is_searched_where_it_stands(question: str, statement: str) -> None:
    assert statement in where_it_stands(question)


@pytest.mark.parametrize("question", ["What is the deadline for a dispute?", "Is a marginal note required?", ""])
def test_other_questions_get_no_hints(question: str) -> None:
    assert where_it_stands(question) == ""
