"""One question on its way through the stages: what is known of it so far, and what each stage took."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from rag.domain import AnswerStatus, Passage, Principal, SentenceCheck, Trouble
from rag.errors import ModelError, ModelTimeout
from rag.operations import deadline
from rag.query.events import AskRequest, SentenceReleased, Stage, StageFinished, Turn
from rag.query.generating import Attempt, Writer, notice

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reply:
    """A text that ends a question before any engine is asked."""

    text: str
    status: AnswerStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A question, cleaned, and as it is searched for: with what it owes to the conversation, without orders."""

    question: str
    searched: str


@dataclass(slots=True)
class Run:
    """One question on its way through the stages."""

    request: AskRequest
    principal: Principal
    snapshot: int = 0
    question: str = ""
    asked: str = ""  # the question without orders to a model
    history: tuple[Turn, ...] = ()  # ... and what was said before, likewise
    searched: str = ""
    confidence: float = 0.0
    passages: Sequence[Passage] = ()
    checks: list[SentenceCheck] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    unknown_markers: int = 0
    prompt_version: str = ""  # of the prompt that the answer was written from
    writer: Writer | None = None
    trouble: Trouble | None = None  # of the last engine that was asked
    degraded: Trouble | None = None  # of the first one that was in trouble
    broke_off: bool = False  # the engine that wrote the answer did not finish it
    tokens: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    async def work(
        self, stage: Stage, step: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Do a step of a stage in a thread and add its time to the stage.

        Raises `TimeoutError` when the request's deadline has passed: what nobody will read is not begun.
        """
        deadline.check()
        began = time.perf_counter()
        try:
            return await asyncio.to_thread(step, *args, **kwargs)
        finally:
            self.add(stage, time.perf_counter() - began)

    def attempts(self, writers: Sequence[Writer]) -> Iterator[Attempt]:
        """An attempt with each engine in turn, until one made sense or something was released, which stays."""
        for self.writer in writers:
            self.checks.clear()  # of what another engine wrote, nothing stands in the answer
            yield Attempt(self.writer)
            if self.trouble is None or self.pieces:
                return

    def attempted(self, attempt: Attempt) -> None:
        """Note what an attempt took, and what was wrong with it."""
        self.trouble = attempt.trouble
        if self.trouble is None and not self.pieces and not attempt.declined:
            self.trouble = "unsupported" if attempt.statements else "empty"
        self.degraded = self.degraded or self.trouble
        self.broke_off = self.trouble is not None and bool(self.pieces)
        useless = self.trouble is not None and not self.pieces
        self.add("abandoned" if useless else "generate", attempt.seconds)
        if not useless:
            self.tokens = attempt.tokens
            if attempt.first_token_seconds is not None:
                self.timings["first_token"] = attempt.first_token_seconds

    def notice(self, status: AnswerStatus) -> str:
        """What people are told when not everything went as configured."""
        if self.degraded is None:
            return ""
        return notice(self.degraded, "refused" if status == "refused" else "broken_off" if self.broke_off else "quoted")

    def raise_if_dead(self) -> None:
        """Raise `ModelError` when there is no answer because no engine works."""
        if self.trouble == "slow":
            raise ModelTimeout("the answering engine took too long; ask again, or ask for less at once")
        if self.trouble in ("failed", "unavailable"):
            raise ModelError("the answering engine failed; ask again, and tell the operator if it stays so")

    def add(self, name: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.timings[name] = self.timings.get(name, 0.0) + seconds

    def finished(self, stage: Stage, **detail: Any) -> StageFinished:
        """The event that ends a stage."""
        return StageFinished(stage, self.timings.get(stage, 0.0), detail)

    def release(self, text: str) -> SentenceReleased:
        """Take a verified piece into the answer."""
        self.pieces.append(text if self.pieces else text.lstrip())
        self.timings.setdefault("first_sentence", time.perf_counter() - self.began)
        return SentenceReleased(len(self.pieces) - 1, self.pieces[-1])


def describe(passage: Passage) -> dict[str, Any]:
    """What the stages show of a passage: where it is and its digest, not what it says."""
    return {
        "chunk_id": passage.chunk_id,
        "sha256": hashlib.sha256(passage.text.encode("utf-8", "surrogatepass")).hexdigest(),
        "document_id": passage.document_id,
        "title": passage.title,
        "section": passage.section,
        "page": passage.page,
        "page_label": passage.page_label,
        "score": round(passage.score, 4),
    }
