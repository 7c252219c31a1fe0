"""What one chat session remembers: its turns, the sources that it was shown, and the questions that failed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from ui.wire import Answer, Citation, Turn

MAX_TURNS = 40
MAX_SOURCES = 400
MAX_REMEMBERED_ANSWER = 2000  # characters of an answer that are worth sending back as history


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, by the id of its message in the chat, and the answer that it got."""

    message_id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class FailedQuestion:
    """A question that got no answer, or one that was given before, and may be asked again."""

    message_id: str
    question: str
    freshness: Literal["any", "fresh"] = "any"


@dataclass(slots=True)
class Conversation:
    """Grows with the chat and stays bounded. Nothing in it comes from the browser but questions."""

    exchanges: list[Exchange] = field(default_factory=list)
    _sources: OrderedDict[tuple[str, int], Citation] = field(default_factory=OrderedDict)
    _failed: OrderedDict[str, FailedQuestion] = field(default_factory=OrderedDict)

    def history(self, turns: int) -> list[Turn]:
        """The last `turns` questions with their answers, oldest first."""
        history: list[Turn] = []
        for exchange in self.exchanges[-turns:] if turns else ():
            history.append(Turn(role="user", content=exchange.question))
            history.append(Turn(role="assistant", content=exchange.answer[:MAX_REMEMBERED_ANSWER]))
        return history

    def rewind(self, message_id: str) -> None:
        """Forget this message's exchange and all later ones: the message was edited."""
        kept = [exchange.message_id for exchange in self.exchanges]
        if message_id in kept:
            del self.exchanges[kept.index(message_id) :]

    def answered(self, message_id: str, question: str, answer: Answer) -> None:
        """Remember an exchange and the sources that the chat now shows."""
        self.exchanges = [*self.exchanges, Exchange(message_id, question, answer.text)][-MAX_TURNS:]
        for citation in answer.citations:
            self._sources[answer.id, citation.marker] = citation
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)

    def source(self, answer_id: object, marker: object) -> Citation | None:
        """The source that this session was shown under these two, whatever a browser may have sent as them."""
        if isinstance(answer_id, str) and isinstance(marker, int):
            return self._sources.get((answer_id, marker))
        return None

    def failed(self, reference: str, question: FailedQuestion) -> None:
        """Remember a question that may be asked again under this reference."""
        self._failed[reference] = question
        while len(self._failed) > MAX_TURNS:
            self._failed.popitem(last=False)

    def take_failed(self, reference: object) -> FailedQuestion | None:
        """The failed question of this reference, once."""
        return self._failed.pop(reference, None) if isinstance(reference, str) else None
