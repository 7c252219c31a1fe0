"""From a question to an answer whose every sentence is cited, or to a plain refusal: the story in one function."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeVar

from llama_index.core.llms import LLM

from rag.domain import Answer, AnswerStatus, Citation, Passage, Principal, SearchFilter, SentenceCheck, Trouble
from rag.errors import ModelError, ModelTimeout
from rag.query import injection
from rag.query.citations import Citations
from rag.query.cutting import cut, estimate_tokens
from rag.query.entailment import Entailment
from rag.query.events import (
    AskRequest,
    CitationReleased,
    Completed,
    DraftWritten,
    Event,
    SentenceReleased,
    Stage,
    StageFinished,
)
from rag.query.evidence import Evidence, ReadPage, gather
from rag.query.follow_ups import By, rewrite
from rag.query.generating import Attempt, Writer, notice, write, writers
from rag.query.grounding import Mode, Verdict
from rag.query.prompting import NOT_IN_THE_DOCUMENTS, Prompt, build_prompt, prompt_version
from rag.query.questions import clean_question
from rag.query.refusal import AnswerabilityModel, refusal_text, shipped_model
from rag.query.routing import escalation_topic
from rag.query.scope import OFF_TOPIC_REPLY, Scope, shipped_scope_model
from rag.query.selecting import Candidate, rank_sentences, read_passages
from rag.query.signals import Signals, measure, rarity_from
from rag.query.similarity import SentenceEncoder
from rag.query.small_talk import small_talk, small_talk_reply
from rag.query.statements import Statement
from rag.query.verification import Verification
from rag.query.words import also_asked
from rag.settings import Settings

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_READ_MORE: Final = 2  # times as many passages are read for their sentences as are given to the engine
_CERTAIN: Final = 0.8  # probability of an answer from which it is given although the question seems off topic
_VERBATIM_ENGINES: Final = frozenset({"extractive"})


class Searching(Protocol):
    """What finds passages, such as `rag.query.retrieval.Searcher`."""

    def search(self, question: str, principal: Principal, narrow: SearchFilter, top_k: int) -> list[Passage]:
        """The best passages that this principal may read, best first."""


class Corpus(Protocol):
    """What knows the corpus as a whole, such as `rag.storage.catalog.Catalog`."""

    @property
    def snapshot(self) -> int:
        """The number of the corpus snapshot."""

    def collections(self, principal: Principal) -> list[str]:
        """The collections in which the principal may read something."""

    def count(self, principal: Principal, narrow: SearchFilter) -> int:
        """How many documents a search covers."""


@dataclass(slots=True)
class _Run:
    """One question on its way through the stages."""

    request: AskRequest
    principal: Principal
    snapshot: int
    question: str = ""
    searched: str = ""
    confidence: float = 0.0
    scope: Scope = "in_scope"
    passages: Sequence[Passage] = ()
    checks: list[SentenceCheck] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    unknown_markers: int = 0
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
        """Do a step of a stage in a thread and add its time to the stage."""
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


class QueryPipeline:
    """Answers questions for one workspace. `page(document_id, number)` reads a page; it raises `NotFound`.

    When `llm` is down, slow or talks nonsense, the engines of `fallback` are asked in their order.

    Questions may run at the same time; work on the processor happens in threads.
    """

    screened = True  # False only to measure what the defence against injected orders is worth

    def __init__(  # noqa: PLR0913 - the parts of a pipeline, by name
        self,
        *,
        searcher: Searching,
        llm: LLM,
        fallback: Sequence[LLM] = (),
        embedding: SentenceEncoder,
        catalog: Corpus,
        settings: Settings,
        page: ReadPage,
        answerability: AnswerabilityModel | None = None,
        entailment: Entailment | None = None,
    ) -> None:
        self._searcher = searcher
        self._writers = writers((llm, *fallback), settings.generation)
        self._embedding = embedding
        self._catalog = catalog
        self._settings = settings
        self._page = page
        self._own_answerability = answerability
        self._verification = Verification(embedding, settings.verification.arithmetic, entailment)
        self._drafts: Literal["hidden", "shown"] = "shown" if settings.streaming.release == "token" else "hidden"
        self._rarity = rarity_from(embedding.tokenizer)

    @property
    def engines(self) -> tuple[LLM, ...]:
        """The engine that answers, and those that stand in for it."""
        return tuple(each.llm for each in self._writers)

    async def ask(self, request: AskRequest, principal: Principal) -> Answer:
        """The answer. Raises `QuestionError` for what is no question and `ModelError` when the engine fails."""
        async with aclosing(self.stream(request, principal)) as events:
            async for event in events:
                if isinstance(event, Completed):
                    return event.answer
        raise ModelError("the answer ended before it was complete; ask again")

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The answer as it comes about. It ends with `Completed`, or raises like `ask`.

        A piece is released once it is verified, after the citations that it uses. Closing the stream stops the work
        at the next stage or sentence.
        """
        run = _Run(request, principal, await asyncio.to_thread(lambda: self._catalog.snapshot))
        run.question = await run.work("check", clean_question, request.question, self._settings.question.max_characters)
        topic = await run.work("check", escalation_topic, run.question)
        yield run.finished("check")

        if topic:
            yield run.release(self._settings.contacts.text(topic))
            yield self._complete(run, "escalated", topic)
            return

        talk = small_talk(run.question)
        if talk:
            yield run.release(small_talk_reply(talk))
            yield self._complete(run, "refused", "small_talk")
            return

        asked = run.question
        if self.screened:
            asked, history = await run.work("rewrite", injection.screen_question, asked, request.history)
            run.request = replace(request, history=history)
        if not asked:
            yield run.release(injection.ONLY_ORDERS)
            yield self._complete(run, "refused", "only_orders")
            return

        run.searched, by = await self._rewrite(run, asked)
        yield run.finished("rewrite", searched_question=run.searched, by=by)

        run.passages = await run.work("retrieve", self._search, run.searched, principal, request.narrow)
        yield run.finished("retrieve", passages=[_shown(each) for each in run.passages])

        evidence, run.confidence = await run.work("decide", self._decide, run.searched, run.passages)
        run.scope = await run.work("decide", self._scope, run.searched)
        answerable = bool(evidence) and run.confidence >= self._threshold
        yield run.finished("decide", confidence=round(run.confidence, 4), answerable=answerable)
        if run.confidence < _CERTAIN and run.scope != "in_scope":
            chat = run.scope == "chitchat"
            yield run.release(small_talk_reply("identity") if chat else OFF_TOPIC_REPLY)
            yield self._complete(run, "refused", "small_talk" if chat else "off_topic")
            return
        if not answerable:
            yield run.release(self._refusal(run))
            yield self._complete(run, "refused", "not_in_documents")
            return

        for attempt in run.attempts(self._writers):
            shown, prompt = await run.work("prompt", self._prompt, attempt.writer, run.searched, evidence)
            citations = Citations(shown)
            async with aclosing(write(attempt, prompt, self._drafts)) as statements:
                async for said in statements:
                    if isinstance(said, DraftWritten):
                        yield said
                        continue
                    async for event in self._verify(said, shown, citations, run):
                        yield event
            run.attempted(attempt)
            yield run.finished("generate", engine=attempt.writer.name, trouble=run.trouble)
        withheld = sum(1 for each in run.checks if not each.supported)
        read = [_shown(each.passage) for each in shown]
        yield run.finished("verify", withheld=withheld, unknown_markers=run.unknown_markers, read=read)

        if not run.pieces:
            run.raise_if_dead()
            yield run.release(self._refusal(run))
            yield self._complete(run, "refused", "unsupported" if withheld else "not_in_documents")
        elif run.broke_off:
            yield self._complete(run, "partial", "broken_off", citations.all)
        elif withheld:
            yield self._complete(run, "partial", "sentences_withheld", citations.all)
        else:
            yield self._complete(run, "answered", "", citations.all)

    @property
    def _answerability(self) -> AnswerabilityModel:
        return self._own_answerability or shipped_model()

    @property
    def _threshold(self) -> float:
        configured = self._settings.refusal.threshold
        return self._answerability.threshold if configured is None else configured

    def signals(self, question: str, principal: Principal, narrow: SearchFilter) -> Signals | None:
        """What the decision whether to answer rests on, for fitting it; None when nothing was found."""
        passages = self._search(question, principal, narrow)
        evidence, ranked = self._read(question, passages)
        return measure(question, passages, evidence, ranked, self._rarity) if evidence else None

    async def _rewrite(self, run: _Run, asked: str) -> tuple[str, By]:
        """The question that stands alone, by the configured engine if it is one that generates."""
        began = time.perf_counter()
        writer = next((each for each in self._writers[:1] if each.name not in _VERBATIM_ENGINES), None)
        seconds = self._settings.generation.rewrite_seconds
        found = await rewrite(asked, run.request.history, writer, seconds)
        run.add("rewrite", time.perf_counter() - began)
        return found.question, found.by

    def _search(self, question: str, principal: Principal, narrow: SearchFilter) -> list[Passage]:
        """More passages than the engine will get: those for the question, and then those for its other words."""
        limit = min(_READ_MORE * self._settings.retrieval.top_k, self._settings.retrieval.max_top_k)
        passages = self._searcher.search(question, principal, narrow, limit)
        other_words = also_asked(question)
        if other_words:
            known = {each.chunk_id for each in passages}
            more = self._searcher.search(f"{question} {other_words}", principal, narrow, limit // 2)
            passages = passages + [each for each in more if each.chunk_id not in known]
        return injection.screen_passages(passages) if self.screened else passages

    def _read(self, question: str, passages: Sequence[Passage]) -> tuple[list[Evidence], list[Candidate]]:
        """The evidence in the passages, and its sentences, best first."""
        evidence = gather(passages, self._page)
        evidence = injection.screen_evidence(evidence) if self.screened else evidence
        prompt = Prompt(question, tuple(each.for_prompt() for each in evidence))
        return evidence, rank_sentences(prompt, read_passages(prompt), self._embedding)

    def _decide(self, question: str, passages: Sequence[Passage]) -> tuple[list[Evidence], float]:
        """The evidence with the best sentences, and the probability that it answers the question."""
        evidence, ranked = self._read(question, passages)
        if not evidence:
            return [], 0.0
        signals = measure(question, passages, evidence, ranked, self._rarity)
        best = list(dict.fromkeys(each.number - 1 for each in ranked))[: self._settings.retrieval.top_k]
        return [evidence[index] for index in best], self._answerability.probability(signals)

    def evidence(self, question: str, principal: Principal, narrow: SearchFilter) -> list[Evidence]:
        """What an engine without a budget would read, best first, for measuring what a budget leaves of it."""
        return self._decide(question, self._search(question, principal, narrow))[0]

    def _prompt(self, writer: Writer, question: str, evidence: Sequence[Evidence]) -> tuple[Sequence[Evidence], str]:
        """The prompt for this engine, and the evidence behind its numbers. A quoting engine reads all, at no cost."""
        whole = Prompt(question, tuple(each.for_prompt() for each in evidence))
        if writer.name in _VERBATIM_ENGINES:
            return evidence, build_prompt(whole)
        count = getattr(writer.llm, "count_tokens", estimate_tokens)
        short = cut(whole, self._embedding, self._settings.generation.passage_tokens, count)
        return [evidence[index] for index in short.kept], build_prompt(short.prompt)

    def _scope(self, question: str) -> Scope:
        return shipped_scope_model().decide(self._embedding.embed([question])[0])

    async def _verify(
        self, statement: Statement, evidence: Sequence[Evidence], citations: Citations, run: _Run
    ) -> AsyncGenerator[Event, None]:
        """Release the statement's sentences with their citations, or withhold them: their words then go nowhere."""
        if NOT_IN_THE_DOCUMENTS in statement.text.upper():
            return
        mode: Mode = "verbatim" if run.writer and run.writer.name in _VERBATIM_ENGINES else "overlap"
        began = time.perf_counter()
        async with aclosing(self._verification.verdicts(statement, evidence, mode)) as verdicts:
            async for sentence, verdict in verdicts:
                run.add("verify", time.perf_counter() - began)
                for event in self._judged(sentence, verdict, citations, run):
                    yield event
                began = time.perf_counter()

    def _judged(self, statement: Statement, verdict: Verdict, citations: Citations, run: _Run) -> Iterator[Event]:
        """What is sent of a sentence with this verdict."""
        run.unknown_markers += verdict.unknown
        if not verdict.supported:
            run.checks.append(SentenceCheck("", (), supported=False, reason=verdict.reason))
            return
        reason = injection.foreign(statement.text, verdict, evidence) if self.screened else ""
        if reason:
            run.checks.append(SentenceCheck("", (), supported=False, reason=reason))
            return
        before = len(citations.all)
        text, markers = citations.cite(statement, verdict)
        run.checks.append(SentenceCheck(text, markers, supported=True))
        for citation in citations.all[before:]:
            yield CitationReleased(citation)
        yield run.release(statement.gap + text)

    def _refusal(self, run: _Run) -> str:
        narrow = run.request.narrow
        names = self._catalog.collections(run.principal)
        searched = [name for name in names if not narrow.collections or name in narrow.collections]
        count = self._catalog.count(run.principal, narrow)
        return refusal_text(run.passages, count, searched, self._settings.refusal.contact)

    def _complete(self, run: _Run, status: AnswerStatus, reason: str, citations: Sequence[Citation] = ()) -> Completed:
        run.timings["total"] = time.perf_counter() - run.began
        writer = run.writer or self._writers[0]
        answer = Answer(
            id=uuid.uuid4().hex,
            question=run.question,
            text="".join(run.pieces),
            status=status,
            reason=reason,
            citations=tuple(citations),
            checks=tuple(run.checks),
            confidence=run.confidence,
            searched_question=run.searched,
            degraded=run.degraded or "",
            notice=run.notice(status),
            model=writer.llm.metadata.model_name,
            engine=writer.name,
            prompt_version=prompt_version(),
            snapshot=run.snapshot,
            timings=dict(run.timings),
            tokens=dict(run.tokens),
        )
        return Completed(answer)


def _shown(passage: Passage) -> dict[str, Any]:
    """What the retrieve stage shows of a passage: where it is, not what it says."""
    return {
        "document_id": passage.document_id,
        "title": passage.title,
        "section": passage.section,
        "page": passage.page,
        "page_label": passage.page_label,
        "score": round(passage.score, 4),
    }
