"""Which questions count as the same, and above all which ones never do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag.query.canonical import canonical_question

PLAIN = "what is the monthly fee of the basic account"

SAME = [
    "What is the monthly fee of the Basic Account?",
    "  what   is\tthe monthly fee of the basic account ?? ",
    "WHAT IS THE MONTHLY FEE OF THE BASIC ACCOUNT",
    "Hello, what is the monthly fee of the basic account?",
    "Hi there! What is the monthly fee of the basic account? Thanks in advance!",
    "Good morning - what's the monthly fee of the basic account, please?",
    "Dear team,\ncould you please tell me: what’s the monthly fee of the basic account?",
    "Can you tell me what is the monthly fee of the basic account please",
    "I'd like to know, what is the monthly fee of the basic account.",
    "“What is the monthly fee of the basic account?”",
    "Whats the monthly fee of the basic account",
    "Ｗｈａｔ　ｉｓ　ｔｈｅ monthly fee of the basic account？",
]

DIFFERENT = [
    ("Is a fee of $5 allowed?", "Is a fee of £5 allowed?"),
    ("Is a fee of $5 allowed?", "Is a fee of 5 allowed?"),
    ("Is a fee of 5% allowed?", "Is a fee of 5 allowed?"),
    ("Is a fee of 1,000 allowed?", "Is a fee of 1.000 allowed?"),
    ("Is a rate of -5 % possible?", "Is a rate of 5 % possible?"),
    ("Is a rate of .5 possible?", "Is a rate of 5 possible?"),
    (".5 percent: is it a fee?", "5 percent: is it a fee?"),
    ("Is the limit 10²?", "Is the limit 102?"),
    ("Is the limit 2½?", "Is the limit 21/2?"),
    ("Is the limit ①1?", "Is the limit 11?"),
    ("What does § 11 say?", "What does § 1 1 say?"),
    ("Is theft covered?", "Is theft not covered?"),
    ("Can I close it?", "Can't I close it?"),
    ("May I close it?", "Must I close it?"),
    ("Does it cover US customers?", "Does it cover us customers?"),
    ("Who is liable?", "What does the WHO say is liable?"),
    ("Transfer from savings to checking?", "Transfer from checking to savings?"),
    ("Withdraw before maturity?", "Withdraw after maturity?"),
    ("How long on 1 March 2024?", "How long on 1 March 2025?"),
    ("Hello Bank account fees?", "Account fees?"),
    ("Hi-yield savings rates", "Yield savings rates"),
    ("How do I say please", "How do I say"),
    ("Can I withdraw when I please", "Can I withdraw when I"),
    ("Tell me about fees", "Tell me fees"),
    ("Are banks' fees limited?", "Are bank's fees limited?"),
    ("Resign or re-sign the form?", "Re-sign or resign the form?"),
]


@pytest.mark.parametrize("question", SAME)
def test_spelling_greeting_and_politeness_do_not_count(question: str) -> None:
    assert canonical_question(question) == PLAIN


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_in_meaning_stays_different(one: str, other: str) -> None:
    assert canonical_question(one) != canonical_question(other)


def test_contractions_keep_their_negation() -> None:
    assert canonical_question("Isn’t it covered?") == canonical_question("is not it covered") != "is it covered"


@pytest.mark.parametrize("question", ["please", "Hi!", "Thanks?", "hello, thanks", "?!", "'"])
def test_what_is_nothing_but_politeness_is_left_to_be_answered_as_such(question: str) -> None:
    assert canonical_question(question)


WORDS = st.sampled_from(
    ["fee", "account", "transfer", "savings", "checking", "card", "overdraft", "gold", "loan", "online"]
)
AMOUNTS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "$", "€", "£", "¥", "-", "USD ", "EUR "]),
    st.from_regex(r"\A(?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,2})?\Z"),
    st.sampled_from(["", "%", " %", "k", " million", " days", " bp"]),
)
DATES = st.builds(
    "{} {} {}".format,
    st.integers(1, 28),
    st.sampled_from(["January", "May", "June", "December"]),
    st.integers(1990, 2030),
)
NEGATIONS = st.sampled_from(["not", "no", "never", "without", "except", "unless", "neither", "nor", "none"])
TELLING = st.one_of(AMOUNTS, DATES, NEGATIONS, WORDS)
OPENINGS = st.sampled_from(["what is", "how much is", "can i use", "which rule covers", "does it cover", "why may"])


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, ...]:
    """The words of a question: an opening, and words that all count."""
    return (draw(OPENINGS), *draw(st.lists(TELLING, min_size=2, max_size=7)))


def written(words: tuple[str, ...]) -> str:
    return " ".join(words)


@st.composite
def decorations(draw: st.DrawFn) -> Callable[[str], str]:
    """A way to write a question that does not change what it asks."""
    before = draw(
        st.sampled_from(["", "Hi, ", "Hello! ", "Good morning, ", "Please tell me ", "Hey there, could you tell me "])
    )
    after = draw(st.sampled_from(["", "?", " ?", "??", ".", "!", "? Thanks!", ", please?", "? Thank you very much."]))
    case = draw(st.sampled_from([str.lower, str.capitalize, str.upper, str]))
    space = draw(st.sampled_from([" ", "  ", "\u00a0", "\n", "\u2009 "]))
    wide = draw(st.booleans())

    def decorate(question: str) -> str:
        text = case(question).replace(" ", space)
        if wide:
            text = "".join(chr(ord(each) + 0xFEE0) if each.isascii() and each.isalnum() else each for each in text)
        return f"{before}{text}{after}"

    return decorate


@given(questions(), decorations(), decorations())
def test_the_same_words_written_in_two_ways_are_one_question(
    words: tuple[str, ...], one: Callable[[str], str], other: Callable[[str], str]
) -> None:
    assert canonical_question(one(written(words))) == canonical_question(other(written(words)))


@given(questions(), st.data(), decorations(), decorations())
def test_one_number_date_negation_currency_or_word_more_or_other_makes_another_question(
    words: tuple[str, ...], data: st.DataObject, one: Callable[[str], str], other: Callable[[str], str]
) -> None:
    place = data.draw(st.integers(1, len(words) - 1))
    change = data.draw(st.sampled_from(["replace", "insert", "leave out"]))
    after = place if change == "insert" else place + 1
    changed = (*words[:place], *([] if change == "leave out" else [data.draw(TELLING)]), *words[after:])
    assume(written(changed) != written(words))
    assert canonical_question(one(written(words))) != canonical_question(other(written(changed)))


@given(questions(), st.data(), decorations())
def test_words_in_another_order_make_another_question(
    words: tuple[str, ...], data: st.DataObject, decorate: Callable[[str], str]
) -> None:
    moved = (words[0], *data.draw(st.permutations(words[1:])))
    assume(written(moved) != written(words))
    assert canonical_question(written(words)) != canonical_question(decorate(written(moved)))


TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn"]),
        st.sampled_from("'\"-–’ .,?!$£%½²①٣５ß"),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@given(TEXTS)
def test_the_canonical_form_of_any_text_is_its_own(text: str) -> None:
    assume(any(each.isalnum() for each in text))
    once = canonical_question(text)
    assert once
    assert canonical_question(once) == once


def numbers(text: str) -> list[str]:
    """Every run of what has a numeric value, plain digits as ASCII."""
    plain = "".join(str(unicodedata.decimal(each, each)) for each in unicodedata.normalize("NFC", text))
    return re.findall(r"\d+", "".join(each if each.isnumeric() else " " for each in plain))


@given(TEXTS)
def test_no_number_and_no_currency_of_any_text_is_lost_or_changed(text: str) -> None:
    assume(any(each.isalnum() for each in text))
    form = canonical_question(text)
    assert numbers(form) == numbers(text)
    currencies = [unicodedata.normalize("NFKC", each) for each in text if unicodedata.category(each) == "Sc"]
    assert [each for each in form if unicodedata.category(each) == "Sc"] == currencies
