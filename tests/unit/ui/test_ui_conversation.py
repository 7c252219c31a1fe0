"""What a session remembers, and what it refuses to believe."""

from __future__ import annotations

import pytest

from ui.conversation import MAX_SOURCES, MAX_TURNS, Conversation, FailedQuestion
from ui.wire import Answer, Citation


def answer(number: int, markers: int = 1) -> Answer:
    citations = tuple(Citation(marker=each + 1, document_id="d", title="T") for each in range(markers))
    return Answer(id=f"a{number}", text=f"Answer {number}.", citations=citations)


def conversation_of(count: int) -> Conversation:
    conversation = Conversation()
    for number in range(count):
        conversation.answered(f"m{number}", f"Question {number}?", answer(number))
    return conversation


def test_history_is_the_last_turns_oldest_first() -> None:
    history = conversation_of(5).history(2)
    assert [turn.content for turn in history] == ["Question 3?", "Answer 3.", "Question 4?", "Answer 4."]
    assert [turn.role for turn in history] == ["user", "assistant"] * 2
    assert conversation_of(5).history(0) == []


def test_an_edited_message_forgets_itself_and_all_that_came_later() -> None:
    conversation = conversation_of(4)
    conversation.rewind("m2")
    assert [exchange.message_id for exchange in conversation.exchanges] == ["m0", "m1"]
    conversation.rewind("a new message")
    assert len(conversation.exchanges) == 2


def test_a_source_is_known_only_as_it_was_shown() -> None:
    conversation = conversation_of(1)
    assert conversation.source("a0", 1) is not None
    assert conversation.source("a0", 2) is None
    assert conversation.source("a9", 1) is None


@pytest.mark.parametrize(("answer_id", "marker"), [(None, 1), ("a0", "1"), (["a0"], 1), ("a0", None), ({}, {})])
def test_a_forged_payload_is_no_source(answer_id: object, marker: object) -> None:
    assert conversation_of(1).source(answer_id, marker) is None


def test_memory_is_bounded() -> None:
    conversation = Conversation()
    for number in range(300):
        conversation.answered(f"m{number}", "?", answer(number, markers=5))
        conversation.failed(f"r{number}", FailedQuestion(f"m{number}", "?"))
    assert len(conversation.exchanges) == MAX_TURNS
    assert sum(conversation.source(f"a{n}", m) is not None for n in range(300) for m in range(1, 6)) == MAX_SOURCES
    assert sum(conversation.take_failed(f"r{number}") is not None for number in range(300)) == MAX_TURNS


def test_a_failed_question_is_asked_again_once() -> None:
    conversation = Conversation()
    conversation.failed("r1", FailedQuestion("m1", "Question?"))
    assert conversation.take_failed(["r1"]) is None
    assert conversation.take_failed("r1") == FailedQuestion("m1", "Question?")
    assert conversation.take_failed("r1") is None
