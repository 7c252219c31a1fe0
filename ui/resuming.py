"""A stored conversation, taken up again: what was said, which sources were shown, and their buttons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from ui.conversation import Conversation
from ui.wire import Answer

ANSWER = "answer"  # the key of an answer in its message's metadata; only this process writes it


def stored_answer(answer: Answer) -> dict[str, Any]:
    """What a message's metadata keeps of its answer, so that its sources open again later."""
    return {ANSWER: answer.model_dump(mode="json")}


def read_answer(step: Mapping[str, Any]) -> Answer | None:
    """The answer that a stored message shows; None for what the chat itself said."""
    if step.get("type") == "assistant_message":
        with suppress(ValidationError, AttributeError):
            return Answer.model_validate((step.get("metadata") or {}).get(ANSWER))
    return None


def recalled(steps: Iterable[Mapping[str, Any]]) -> Conversation:
    """The conversation that these stored steps were, oldest first."""
    conversation = Conversation()
    asked: Mapping[str, Any] = {}
    for step in steps:
        if step.get("type") == "user_message":
            asked = step
        elif asked and (answer := read_answer(step)):
            conversation.answered(str(asked["id"]), str(asked.get("output") or ""), answer)
    return conversation


def answers(steps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Answer]]:
    """The ids of the stored messages that show an answer, with the answer."""
    for step in steps:
        if answer := read_answer(step):
            yield str(step["id"]), answer
