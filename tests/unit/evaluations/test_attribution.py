from __future__ import annotations

from dataclasses import replace

import pytest

from evaluations.attribution import cause
from evaluations.datasets.items import Item, Wanted
from evaluations.runs.records import CitedQuote, ItemRecord, Produced, RetrievedPassage

NUMBER = Item("i", "How much?", Wanted(("5",), "", True, {"d 1": 1.0}, frozenset({"d"})))
STRANGE = Item("i", "How much?", Wanted(answerable=False))


def _passage(page: int, *, in_prompt: bool) -> RetrievedPassage:
    return RetrievedPassage("x", "t", page, "", 0.5, f"d {page}", "d", in_prompt)


def _produced(text: str, status: str, *passages: RetrievedPassage, cited: int = 0) -> Produced:
    citations = (CitedQuote("x", "t", cited, "", f"d {cited}", "d", "1"),) if cited else ()
    return Produced(text, status, "", passages, citations)


READ, CUT, OTHER = _passage(1, in_prompt=True), _passage(1, in_prompt=False), _passage(2, in_prompt=True)


@pytest.mark.parametrize(
    ("produced", "expected"),
    [
        (_produced("It is 5.", "answered", READ, cited=1), ""),
        (_produced("It is 7.", "answered", OTHER, cited=2), "not retrieved"),
        (_produced("It is 7.", "answered", OTHER, CUT, cited=2), "cut from the prompt"),
        (_produced("It is 7.", "answered", READ, cited=1), "wrong number"),
        (_produced("It is large.", "answered", READ, OTHER, cited=2), "in the prompt but not used"),
        (_produced("It is large.", "answered", READ, cited=1), "wrong"),
        (_produced("Not in the documents.", "refused", READ), "wrongly refused"),
        (_produced("Not in the documents.", "refused", OTHER), "not retrieved"),
        (_produced("", "searched", OTHER, CUT), ""),
        (_produced("", "searched", OTHER), "not retrieved"),
        (_produced("", "searched"), "not retrieved"),
    ],
)
def test_the_cause_is_the_first_place_where_what_was_needed_got_lost(produced: Produced, expected: str) -> None:
    record = ItemRecord("i", 0, "ok", "?", produced=produced)
    assert cause(NUMBER, replace(record, in_corpus=True)) == expected


def test_what_the_corpus_does_not_hold_cannot_be_retrieved() -> None:
    record = ItemRecord("i", 0, "ok", "?", produced=_produced("It is 7.", "answered", OTHER))
    assert cause(NUMBER, replace(record, in_corpus=False)) == "not in corpus"
    assert cause(NUMBER, record) == "not retrieved"


def test_a_question_that_should_be_refused_is_wrongly_answered() -> None:
    answered = ItemRecord("i", 0, "ok", "?", produced=Produced("It is 5.", "answered"))
    refused = ItemRecord("i", 0, "ok", "?", produced=Produced("No.", "refused"))
    assert (cause(STRANGE, answered), cause(STRANGE, refused)) == ("wrongly answered", "")


def test_a_failed_item_is_just_that() -> None:
    assert cause(NUMBER, ItemRecord("i", 0, "failed", "?", failure="timeout")) == "failed"


def test_a_wrong_verdict_is_wrong() -> None:
    item = Item("i", "A claim.", Wanted(label="supported"))
    assert cause(item, ItemRecord("i", 0, "ok", "?", produced=Produced(status="unsupported"))) == "wrong"
    assert cause(item, ItemRecord("i", 0, "ok", "?", produced=Produced(status="supported"))) == ""
