"""Answers behind the policies for personal data: questions before anything sees them, answers before they go out.

A question is protected before its receipt, the cache, the search and the engine get it. With the default policies
answers go out as they are, so that quotes stay verbatim: they are of documents that the asker may read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from rag.domain import Answer, Citation, Principal
from rag.governance.privacy_policies import Protected, is_open, protect
from rag.governance.receipts import Receipts, RecordedAnswers, recorded_answers
from rag.query.events import (
    AskRequest,
    CitationReleased,
    Completed,
    DraftWritten,
    Event,
    SentenceReleased,
    Turn,
    answer_of,
)
from rag.settings import PrivacySettings, Settings
from rag.settings.privacy import Kind, Policy


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question as it may be processed, and what its asker is told of that."""

    request: AskRequest
    protected: Protected


class GuardedAnswers:
    """Answers as `RecordedAnswers` does, under the policies of `privacy`."""

    def __init__(self, recorded: RecordedAnswers, receipts: Receipts, settings: PrivacySettings) -> None:
        self.recorded = recorded
        self._receipts = receipts
        self._settings = settings

    @property
    def conditions(self) -> Callable[[], dict[str, Any]]:
        """What answers depend on besides question, asker and corpus."""
        return self.recorded.conditions

    def reconfigure(self, settings: Settings, encoder: str = "") -> None:
        """Use these settings from now on."""
        self.recorded.reconfigure(settings, encoder)
        self._settings = settings.privacy

    def forget(self) -> int | None:
        """Give no earlier answer again: see `CachedAnswers.forget`."""
        forget: Callable[[], int | None] = getattr(self.recorded.inner, "forget", lambda: 0)
        return forget()

    async def ask(self, request: AskRequest, principal: Principal) -> Answer:
        """The answer. Raises as `stream` does."""
        return await answer_of(self.stream(request, principal))

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The events of the answer. Raises `PersonalDataRefused` for a question that a policy blocks."""
        asking = await asyncio.to_thread(self._asking, request, principal)
        answers = self._settings.answers
        masking = None if is_open(answers) else self._masking(answers, principal)
        async with aclosing(self.recorded.stream(asking.request, principal)) as events:
            async for event in events:
                if masking and isinstance(event, DraftWritten):
                    continue  # pieces of a number would pass one by one
                yield _shown(event, asking, masking)

    def question(self, text: str, principal: Principal) -> Protected:
        """A question as it may be processed. Raises `PersonalDataRefused`. Blocks."""
        policies = self._settings.questions
        return protect(text, policies, self._key(policies, principal), self._settings.regions)

    def _asking(self, request: AskRequest, principal: Principal) -> _Asking:
        policies = self._settings.questions
        if is_open(policies):
            return _Asking(request, Protected(request.question))
        key, regions = self._key(policies, principal), self._settings.regions
        question = protect(request.question, policies, key, regions)
        # What was said before was answered then: it is not refused, but nothing of it passes that would be now.
        said = {kind: "mask" if policy == "block" else policy for kind, policy in policies.items()}
        turns = [(turn.role, protect(turn.content, said, key, regions)) for turn in request.history]
        known: dict[str, str] = {}
        for _, each in turns:
            known |= each.pseudonyms
        history = tuple(Turn(role, each.text) for role, each in turns)
        protected = replace(question, pseudonyms={**known, **question.pseudonyms})
        return _Asking(replace(request, question=question.text, history=history), protected)

    def _key(self, policies: Mapping[Kind, Policy], principal: Principal) -> bytes:
        """The key of the person, which goes when they are erased; none where no pseudonym is needed."""
        return self._receipts.subjects.of(principal).key if "pseudonymise" in policies.values() else b""

    def _masking(self, policies: Mapping[Kind, Policy], principal: Principal) -> Callable[[str], str]:
        """What takes personal data out of an answer; pseudonyms are the same for all of a tenant."""
        key = self._receipts.subjects.name(principal.tenant, "").encode()
        return lambda text: protect(text, policies, key, self._settings.regions).text


def _shown(event: Event, asking: _Asking, masking: Callable[[str], str] | None) -> Event:
    """The event as it goes out: answers are masked, then the asker's own words come back."""

    def put(text: str) -> str:
        return asking.protected.revealed(masking(text) if masking else text)

    if isinstance(event, SentenceReleased):
        return replace(event, text=put(event.text))
    if isinstance(event, CitationReleased) and masking:
        return CitationReleased(_masked(event.citation, masking))
    if isinstance(event, Completed):
        return Completed(_answer(event.answer, asking, put, masking))
    return event


def _answer(answer: Answer, asking: _Asking, put: Callable[[str], str], masking: Callable[[str], str] | None) -> Answer:
    notices = [answer.notice, asking.protected.notice]
    if masking:
        citations = tuple(_masked(each, masking) for each in answer.citations)
        if citations != answer.citations or masking(answer.text) != answer.text:
            notices.append("Personal data in this answer was masked, so what is quoted is not verbatim.")
        checks = tuple(replace(each, text=masking(each.text)) for each in answer.checks)
        answer = replace(answer, citations=citations, checks=checks)
    return replace(answer, text=put(answer.text), notice=" ".join(filter(None, notices)))


def _masked(citation: Citation, masking: Callable[[str], str]) -> Citation:
    return replace(citation, quote=masking(citation.quote))


def open_answers(answers: Any, receipts: Receipts, settings: Settings, encoder: str) -> GuardedAnswers:
    """The same answers, each with a receipt, under the policies for personal data."""
    return GuardedAnswers(recorded_answers(answers, receipts, settings, encoder), receipts, settings.privacy)
