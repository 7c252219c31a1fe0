"""A cut prompt stays within its budget, holds whole sentences with their context, and keeps the best ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.query.cutting import cut, estimate_tokens
from rag.query.prompting import Prompt, PromptPassage, build_prompt, parse_prompt
from rag.testing import WordEncoder

FEES = PromptPassage(
    "Fees",
    "Accounts > Overdrafts",
    "4",
    "The branch opens at nine in the morning. The overdraft fee is 25 dollars for each item that\nis paid. "
    "It is charged at most four times on one day. Parking is free for all visitors of the branch.",
)
LIST = PromptPassage(
    "Rule",
    "§ 1",
    "2",
    "The bank must do the following to close an account:\n- (i) Return the deposit to the owner; and",
)
FIGURES = PromptPassage(
    "Report",
    "Results",
    "7",
    "| Dollars in millions | 2023 | 2022 |\n|---|---|---|\n"
    "| Net sales | 81,797 | 82,959 |\n| Cost of sales | 45,384 | 47,074 |\n",
)
NOISE = PromptPassage("History", "Founding", "1", "The bank was founded by nine merchants of the town in 1821. " * 30)


def shortened(question: str, *passages: PromptPassage, budget: int) -> list[PromptPassage]:
    return list(cut(Prompt(question, passages), WordEncoder(), budget).prompt.passages)


def test_the_sentence_that_answers_stays_whole_and_on_one_line() -> None:
    (passage,) = shortened("What is the overdraft fee?", FEES, budget=45)
    assert passage.text == "The overdraft fee is 25 dollars for each item that is paid."
    assert passage.section == "Overdrafts"


def test_a_sentence_that_leans_on_the_one_before_comes_with_it() -> None:
    (passage,) = shortened("How many times on one day is it charged?", FEES, budget=58)
    assert passage.text.split("\n") == [
        "The overdraft fee is 25 dollars for each item that is paid.",
        "It is charged at most four times on one day.",
    ]


def test_an_item_comes_with_the_words_that_lead_into_it() -> None:
    (passage,) = shortened("Who gets the deposit?", LIST, budget=80)
    assert passage.text == ("The bank must do the following to close an account:\nReturn the deposit to the owner; and")


def test_a_table_row_comes_with_the_line_that_names_its_columns() -> None:
    (passage,) = shortened("What was the cost of sales?", FIGURES, budget=70)
    lines = passage.text.split("\n")
    assert lines[0] == "| Dollars in millions | 2023 | 2022 |"
    assert lines[-1] == "| Cost of sales | 45,384 | 47,074 |"


def test_passages_without_a_chosen_sentence_are_left_out_and_the_others_keep_their_order() -> None:
    short = cut(Prompt("What is the overdraft fee?", (NOISE, FEES)), WordEncoder(), 60)
    assert short.kept == (1,)
    assert [each.title for each in short.prompt.passages] == ["Fees"]


def test_the_best_sentence_stays_even_when_it_alone_is_over_the_budget() -> None:
    assert "overdraft fee" in shortened("What is the overdraft fee?", FEES, budget=1)[0].text


@pytest.mark.parametrize("budget", [100, 200, 400])
def test_passages_with_their_heads_stay_within_the_budget(budget: int) -> None:
    short = cut(
        Prompt("What are the fee, the sales and the deposit?", (FEES, LIST, FIGURES, NOISE)), WordEncoder(), budget
    )
    passages = build_prompt(short.prompt).split("Passages:\n", 1)[1].rsplit("\nQuestion:", 1)[0]
    assert 0 < estimate_tokens(passages) <= budget


def test_a_larger_budget_only_adds() -> None:
    small, large = (set(shortened("fee", FEES, budget=budget)[0].text.split("\n")) for budget in (60, 400))
    assert small < large


def test_tokens_are_counted_by_the_engine_where_it_can() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return 1_000

    short = cut(Prompt("What is the overdraft fee?", (FEES, LIST)), WordEncoder(), 500, count)
    assert counted
    assert len(short.prompt.passages) == 1


@given(st.lists(st.text(max_size=200), max_size=4), st.integers(1, 200))
@settings(deadline=None)
def test_a_cut_prompt_can_be_read_back_whatever_the_passages_say(texts: list[str], budget: int) -> None:
    passages = tuple(PromptPassage("t", "s", "1", text) for text in texts)
    short = cut(Prompt("What is the fee?", passages), WordEncoder(), budget)
    assert parse_prompt(build_prompt(short.prompt)) == short.prompt
    assert list(short.kept) == sorted(set(short.kept))
