"""What a question is, and what happens on the way to its answer, in the order in which it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from rag.domain import Answer, Citation, SearchFilter
from rag.errors import ModelError

Stage = Literal["check", "rewrite", "retrieve", "decide", "prompt", "generate", "verify"]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something said earlier in the conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question, what was said before it (oldest first), and what narrows the search.

    `fresh`: an answer that was given before does not do; the new one takes its place.
    """

    question: str
    history: tuple[Turn, ...] = ()
    narrow: SearchFilter = field(default_factory=SearchFilter)
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended after `seconds`. `detail` holds JSON values: counts, ids, titles and places, never text."""

    stage: Stage
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SentenceReleased:
    """The next verified piece of the answer. The texts, put together as they are, make `Answer.text`."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class DraftWritten:
    """Text as the engine writes it, not verified: what no released sentence repeats is withdrawn by the answer.

    Sent only where `streaming.release` is `token`.
    """

    text: str


@dataclass(frozen=True, slots=True)
class CitationReleased:
    """A citation whose marker a sentence carries; it comes before that sentence."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class Completed:
    """The end of every stream that did not fail."""

    answer: Answer


Event = StageFinished | DraftWritten | SentenceReleased | CitationReleased | Completed


async def answer_of(stream: AsyncGenerator[Event, None]) -> Answer:
    """The answer with which a stream ends. Raises what the stream raises, and `ModelError` when it ends without one."""
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Completed):
                return event.answer
    raise ModelError("the answer ended before it was complete; ask again")
