"""From a question to an answer whose every sentence is cited, or to a plain refusal: the story in one function."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final, Literal, Protocol

from llama_index.core.llms import LLM

from rag.domain import Answer, AnswerStatus, Citation, Passage, Principal, SearchFilter, SentenceCheck
from rag.governance.access import REVOKED, Live, may_read_all, still_readable
from rag.operations import turns
from rag.query import injection, patience
from rag.query.citations import Citations
from rag.query.cutting import cut, estimate_tokens
from rag.query.entailment import Entailment
from rag.query.events import (
    AskRequest,
    CitationReleased,
    Completed,
    DraftWritten,
    Event,
    answer_of,
)
from rag.query.evidence import Evidence, ReadPage, gather
from rag.query.follow_ups import By, may_owe, rewrite
from rag.query.generating import Writer, write, writers
from rag.query.grounding import Mode, Verdict
from rag.query.prompting import NOT_IN_THE_DOCUMENTS, Prompt, build_prompt, prompt_version
from rag.query.questions import clean_question
from rag.query.refusal import AnswerabilityModel, refusal_text, shipped_model
from rag.query.rewriting import stand_alone
from rag.query.routing import escalation_topic
from rag.query.run import Reply, Run, Standing, describe
from rag.query.scope import OFF_TOPIC_REPLY, shipped_scope_model
from rag.query.selecting import Candidate, rank_sentences, read_passages
from rag.query.signals import Signals, measure, rarity_from
from rag.query.similarity import SentenceEncoder
from rag.query.small_talk import small_talk, small_talk_reply
from rag.query.statements import Statement
from rag.query.verification import Verification
from rag.query.words import also_asked
from rag.settings import Settings

_READ_MORE: Final = 2  # times as many passages are read for their sentences as are given to the engine
_CERTAIN: Final = 0.8  # probability of an answer from which it is given although the question seems off topic
_VERBATIM_ENGINES: Final = frozenset({"extractive"})


class Searching(Protocol):
    """What finds passages, such as `rag.query.retrieval.Searcher`."""

    def search_each(
        self, questions: Sequence[tuple[str, int]], principal: Principal, narrow: SearchFilter
    ) -> list[list[Passage]]:
        """For each question the best passages that this principal may read, best first, and at most so many."""


class Corpus(Protocol):
    """What knows the corpus as a whole, such as `rag.storage.catalog.Catalog`."""

    @property
    def snapshot(self) -> int:
        """The number of the corpus snapshot."""

    def collections(self, principal: Principal) -> list[str]:
        """The collections in which the principal may read something."""

    def count(self, principal: Principal, narrow: SearchFilter) -> int:
        """How many documents a search covers."""


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
        words_only_since: Callable[[float], bool] = lambda _: False,
        live: Live | None = None,
    ) -> None:
        self._searcher = searcher
        self._writers = writers((llm, *fallback), settings.generation)
        self._embedding = embedding
        self._catalog = catalog
        self._settings = settings
        self._page = page
        self._live = live
        self._own_answerability = answerability
        self._words_only_since = words_only_since
        self._verification = Verification(embedding, settings.verification.arithmetic, entailment)
        self._drafts: Literal["hidden", "shown"] = "shown" if settings.streaming.release == "token" else "hidden"
        self._rarity = rarity_from(embedding.tokenizer)

    @property
    def engines(self) -> tuple[LLM, ...]:
        """The engine that answers, and those that stand in for it."""
        return tuple(each.llm for each in self._writers)

    def reconfigure(self, settings: Settings, encoder: str = "") -> None:  # noqa: ARG002 - as CachedAnswers has it
        """Use these thresholds, limits and contacts from now on. Engines and what they may take stay as they are."""
        self._settings = settings

    async def ask(self, request: AskRequest, principal: Principal) -> Answer:
        """The answer. Raises `QuestionError` for what is no question and `ModelError` when the engine fails."""
        return await answer_of(self.stream(request, principal))

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The answer as it comes about. It ends with `Completed`, or raises like `ask`.

        A piece is released once it is verified, after the citations that it uses. Closing the stream stops the work
        at the next stage or sentence.
        """
        run = Run(request, principal)
        reply = await run.work("check", self._begin, run)
        if reply is None and (waited := await turns.turn()):
            run.add("queue", waited)
        yield run.finished("check")
        if reply:
            yield run.release(reply.text)
            yield self._complete(run, reply.status, reply.reason)
            return

        run.searched, by = await self._rewrite(run)
        yield run.finished("rewrite", searched_question=run.searched, by=by)

        run.passages = await run.work("retrieve", self._search, run.searched, principal, request.narrow)
        yield run.finished("retrieve", passages=[describe(each) for each in run.passages])

        evidence, reply = await run.work("decide", self._weighed, run)
        yield run.finished("decide", confidence=round(run.confidence, 4), answerable=reply is None)
        if reply:
            yield run.release(reply.text)
            yield self._complete(run, reply.status, reply.reason)
            return

        for attempt in run.attempts(self._writers):
            shown, prompt = await run.work("prompt", self._prompt, attempt.writer, run.searched, evidence)
            run.prompt_version = prompt_version(prompt)
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
        read = [describe(each.passage) for each in shown]
        yield run.finished("verify", withheld=withheld, unknown_markers=run.unknown_markers, read=read)

        if not run.pieces:
            run.raise_if_dead()
            yield run.release(self._refusal(run))
            yield self._complete(run, "refused", "unsupported" if withheld else "not_in_documents")
            return
        status, reason = _outcome(run, withheld)
        yield self._complete(run, status, reason, citations.all)

    def standing(self, request: AskRequest, principal: Principal) -> Standing | None:
        """What will be searched for; None where an engine has a say in it, and for what is answered without a search.

        Raises `QuestionError`. Blocks.
        """
        run = Run(request, principal)
        run.question = clean_question(request.question, self._settings.question.max_characters)
        if self._at_once(run):
            return None
        searched = stand_alone(run.asked, run.history)
        if self._rewriter and may_owe(run.asked, run.history, searched):
            return None
        return Standing(run.question, searched)

    def _begin(self, run: Run) -> Reply | None:
        """Read snapshot and question; the reply to what is answered at once. Raises `QuestionError`."""
        run.snapshot = self._catalog.snapshot
        run.question = clean_question(run.request.question, self._settings.question.max_characters)
        return self._at_once(run)

    def _at_once(self, run: Run) -> Reply | None:
        """The reply to what needs a person, is small talk or gives nothing but orders; no document is looked at."""
        topic = escalation_topic(run.question)
        if topic:
            return Reply(self._settings.contacts.text(topic), "escalated", topic)
        talk = small_talk(run.question)
        if talk:
            return Reply(small_talk_reply(talk), "refused", "small_talk")
        run.asked, run.history = run.question, run.request.history
        if self.screened:
            run.asked, run.history = injection.screen_question(run.question, run.request.history)
        return None if run.asked else Reply(injection.ONLY_ORDERS, "refused", "only_orders")

    def _weighed(self, run: Run) -> tuple[list[Evidence], Reply | None]:
        """The evidence, and the reply where it is none."""
        evidence, run.confidence = self._decide(run.searched, run.passages)
        return evidence, self._declined(run, evidence)

    def _declined(self, run: Run, evidence: Sequence[Evidence]) -> Reply | None:
        """The reply to what is off topic, or has no answer in the documents."""
        scope = shipped_scope_model().decide(self._embedding.embed([run.searched])[0])
        if run.confidence < _CERTAIN and scope == "chitchat":
            return Reply(small_talk_reply("identity"), "refused", "small_talk")
        if run.confidence < _CERTAIN and scope != "in_scope":
            return Reply(OFF_TOPIC_REPLY, "refused", "off_topic")
        if not evidence or run.confidence < self._threshold:
            return Reply(self._refusal(run), "refused", "not_in_documents")
        return None

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

    @property
    def _rewriter(self) -> Writer | None:
        return next((each for each in self._writers[:1] if each.name not in _VERBATIM_ENGINES), None)

    async def _rewrite(self, run: Run) -> tuple[str, By]:
        """The question that stands alone, by the configured engine if it is one that generates."""
        began = time.perf_counter()
        seconds = self._settings.generation.rewrite_seconds
        found = await rewrite(run.asked, run.history, self._rewriter, seconds)
        run.add("rewrite", time.perf_counter() - began)
        return found.question, found.by

    def _search(self, question: str, principal: Principal, narrow: SearchFilter) -> list[Passage]:
        """More passages than the engine will get: those for the question, and then those for its other words."""
        limit = min(_READ_MORE * self._settings.retrieval.top_k, self._settings.retrieval.max_top_k)
        asked = [(question, limit)]
        if other_words := also_asked(question):
            asked.append((f"{question} {other_words}", limit // 2))
        passages, *others = self._searcher.search_each(asked, principal, narrow)
        known = {each.chunk_id for each in passages}
        passages += [each for more in others for each in more if each.chunk_id not in known]
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

    async def _verify(
        self, statement: Statement, evidence: Sequence[Evidence], citations: Citations, run: Run
    ) -> AsyncGenerator[Event, None]:
        """Release the statement's sentences with their citations, or withhold them: their words then go nowhere."""
        if NOT_IN_THE_DOCUMENTS in statement.text.upper():
            return
        mode: Mode = "verbatim" if run.writer and run.writer.name in _VERBATIM_ENGINES else "overlap"
        began = time.perf_counter()
        last = partial(self._unless_revoked, evidence, run)
        async with aclosing(self._verification.verdicts(statement, evidence, mode, last)) as verdicts:
            async for sentence, verdict in verdicts:
                run.add("verify", time.perf_counter() - began)
                for event in self._judged(sentence, verdict, evidence, citations, run):
                    yield event
                began = time.perf_counter()

    def _unless_revoked(self, evidence: Sequence[Evidence], run: Run, verdict: Verdict) -> Verdict:
        """The verdict, where all that the engine read is still open to the asker: a label may have come meanwhile."""
        read = {each.passage.document_id for each in evidence}
        if self._live is None or may_read_all(read, run.principal, self._live):
            return verdict
        return replace(verdict, supported=False, reason=REVOKED)

    def _judged(
        self,
        statement: Statement,
        verdict: Verdict,
        evidence: Sequence[Evidence],
        citations: Citations,
        run: Run,
    ) -> Iterator[Event]:
        """What is sent of a sentence with this verdict."""
        run.unknown_markers += verdict.unknown
        reason = verdict.reason
        if verdict.supported:
            reason = injection.foreign(statement.text, verdict, evidence) if self.screened else ""
        if reason or not verdict.supported:
            run.checks.append(SentenceCheck("", (), supported=False, reason=reason))
            return
        before = len(citations.all)
        text, markers = citations.cite(statement, verdict)
        run.checks.append(SentenceCheck(text, markers, supported=True))
        for citation in citations.all[before:]:
            yield CitationReleased(citation)
        yield run.release(statement.gap + text)

    def _refusal(self, run: Run) -> str:
        narrow = run.request.narrow
        names = self._catalog.collections(run.principal)
        searched = [name for name in names if not narrow.collections or name in narrow.collections]
        count = self._catalog.count(run.principal, narrow)
        passages = run.passages if self._live is None else still_readable(run.passages, run.principal, self._live)
        return refusal_text(passages, count, searched, self._settings.refusal.contact)

    def _complete(self, run: Run, status: AnswerStatus, reason: str, citations: Sequence[Citation] = ()) -> Completed:
        run.timings["total"] = time.perf_counter() - run.began
        writer = run.writer or self._writers[0]
        words_only = self._words_only_since(run.began)
        notices = (run.notice(status), patience.NOTICE if words_only else "")
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
            degraded=run.degraded or ("words_only" if words_only else ""),
            notice=" ".join(filter(None, notices)),
            model=writer.llm.metadata.model_name,
            engine=writer.name,
            prompt_version=run.prompt_version or prompt_version(),
            snapshot=run.snapshot,
            timings=dict(run.timings),
            tokens=dict(run.tokens),
        )
        return Completed(answer)


def _outcome(run: Run, withheld: int) -> tuple[AnswerStatus, str]:
    """Status and reason of an answer that says something."""
    if run.broke_off:
        return "partial", "broken_off"
    return ("partial", "sentences_withheld") if withheld else ("answered", "")
