"""The pipeline, and before it the answers that it gave already. See docs/caching.md for what may be given twice."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final, Literal, Protocol

from rag.domain import Answer, Document, Principal, SearchFilter
from rag.errors import BankSightError, Full, QuestionError
from rag.governance import privacy
from rag.governance.access import LiveDocuments
from rag.ingestion.run import Stores
from rag.operations.telemetry import cache_asked, cache_hit, cache_rejected
from rag.query.canonical import canonical_question
from rag.query.conditions import conditions_of
from rag.query.events import AskRequest, Completed, DraftWritten, Event, answer_of
from rag.query.flights import Flight, Flights
from rag.query.pipeline import QueryPipeline
from rag.query.prompting import prompt_version
from rag.query.replaying import Entry, entry_of, from_bytes, replay, to_bytes
from rag.settings import CacheSettings, Settings
from rag.storage.cache import Recent, SharedAnswers, spread
from rag.storage.redis_connection import RedisConnection
from rag.storage.sealing import Sealer, cache_secret

_SCHEMA: Final = 1  # of names and values; a change makes everything stored before unreachable
_LANGUAGE: Final = "en"
_FIRST_PAUSE_SECONDS: Final = 0.05  # between two looks at what another node is doing
_LONGEST_PAUSE_SECONDS: Final = 0.3
_LOOKED: Final[dict[str, Literal["miss", "error"]]] = {"down": "error"}
PRIVATE_LABEL: Final = "user:"  # begins the access label of what belongs to one person

Outcome = Entry | Literal["died", "alone"]


class Corpus(Protocol):
    """What knows the corpus as a whole, such as `rag.storage.catalog.Catalog`."""

    def refresh(self) -> int:
        """The number of the snapshot now."""

    @property
    def snapshot(self) -> int:
        """The number of the snapshot that answers are given from."""

    def labels(self, principal: Principal) -> list[str]:
        """The clearances of this principal that make a difference."""

    def scopes(self, principal: Principal, narrow: SearchFilter) -> list[str]:
        """What this principal may search: one name for each set of documents with the same labels."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the answers are kept with. `versions` gives those of some documents that are there now, by id."""

    sealer: Sealer
    shared: SharedAnswers | None
    corpus: Corpus
    versions: Callable[[Iterable[str]], Mapping[str, Document]]
    conditions: str
    patience_seconds: float  # for what somebody else is answering
    disputed: Callable[[str], bool] = lambda _: False  # whether somebody judged an answer with this text wrong lately
    regions: Sequence[str] = ("US",)  # of phone numbers


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that may be answered from the cache, and the name of its answer."""

    name: str
    question: str
    searched: str
    snapshot: int
    day: date


@dataclass(slots=True)
class _Lead:
    """The right to answer for all who ask the same now. Without a `token`, other nodes do not know of it."""

    token: str = ""
    flight: Flight[Entry] | None = None
    looked: Literal["miss", "error"] = "miss"


class CachedAnswers:
    """Answers like `QueryPipeline`, and gives an answer again where the same person could get no other."""

    def __init__(self, pipeline: QueryPipeline, parts: Parts, settings: CacheSettings) -> None:
        self._pipeline = pipeline
        self._parts = parts
        self._settings = settings
        self._recent: Recent[Entry] = Recent(settings.entries)
        self._flights: Flights[Entry] = Flights()

    def reconfigure(self, settings: Settings, encoder: str) -> None:
        """Use these settings from now on, and give no answer again that was given by other ones."""
        self._pipeline.reconfigure(settings)  # first, or an answer by the old ones could get the new name
        self._parts = replace(self._parts, conditions=conditions_of(settings, encoder))

    def forget(self) -> int | None:
        """Give none of these answers again, in any process. Returns how many Redis held; None where it did not answer.

        Other processes keep theirs in memory until their time is over, under names that no question has where the
        corpus changed. Blocks.
        """
        self._recent.clear()
        return self._parts.shared.clear() if self._parts.shared else 0

    async def ask(self, request: AskRequest, principal: Principal) -> Answer:
        """The answer. Raises as `QueryPipeline.ask` does."""
        return await answer_of(self.stream(request, principal))

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The events of `QueryPipeline.stream`; those of an answer that was given before come at once."""
        began = time.perf_counter()
        asked = await asyncio.to_thread(self._recognise, request, principal)
        if asked is None:
            cache_asked("bypass")
            async with aclosing(self._pipeline.stream(request, principal)) as events:
                async for event in events:
                    yield event
            return
        found: Entry | _Lead = _Lead() if request.fresh else await self._find(asked, principal)
        seconds = time.perf_counter() - began
        if isinstance(found, Entry):
            for told in replay(found, asked.question, asked.searched, seconds):
                yield told
            return
        cache_asked("bypass" if request.fresh else found.looked)
        async with aclosing(self._answer(found, asked, request, principal, seconds)) as events:
            async for event in events:
                yield event

    # --- whether, and under which name ---------------------------------------------------------------------------

    def _recognise(self, request: AskRequest, principal: Principal) -> _Asked | None:
        """The question by its name; None for one whose answer must not be kept. Raises `QuestionError`."""
        standing = self._pipeline.standing(request, principal)
        if standing is None or self._personal(f"{standing.question}\n{standing.searched}"):
            return None
        corpus, narrow = self._parts.corpus, request.narrow
        day = narrow.as_of or _today()
        snapshot = corpus.snapshot
        try:
            scopes = corpus.scopes(principal, narrow)
        except QuestionError:  # the pipeline says the same, at its own time
            return None
        facts: dict[str, Any] = {
            "schema": _SCHEMA,
            "tenant": principal.tenant,
            "scopes": scopes,
            "labels": corpus.labels(principal),
            "snapshot": snapshot,
            "question": canonical_question(standing.searched),
            "as_of": day.isoformat(),
            "collections": sorted(set(narrow.collections)),
            "documents": sorted(set(narrow.document_ids)),
            "language": _LANGUAGE,
            "prompt": prompt_version(),
            "conditions": self._parts.conditions,
        }
        return _Asked(self._parts.sealer.name(facts), standing.question, standing.searched, snapshot, day)

    def _personal(self, text: str) -> bool:
        return bool(privacy.find(text, self._parts.regions))

    # --- finding -------------------------------------------------------------------------------------------------

    async def _find(self, asked: _Asked, principal: Principal) -> Entry | _Lead:
        """The answer, kept or just being given to somebody else; or the right to give it."""
        clock = time.monotonic
        ends = clock() + self._parts.patience_seconds
        while clock() < ends:
            if (kept := self._recent.get(asked.name)) and await self._holds(kept, asked, principal):
                cache_hit("memory")
                return kept
            flight, role = self._flights.join(asked.name)
            if role == "leads":
                return await self._lead(flight, asked, principal, ends)
            outcome = await flight.outcome(ends - clock())
            if isinstance(outcome, Entry):
                cache_hit("shared")
                return outcome
            if outcome == "alone":
                break
        return _Lead()

    async def _lead(self, flight: Flight[Entry], asked: _Asked, principal: Principal, ends: float) -> Entry | _Lead:
        """What `flight` comes to: an answer that another process gave or gives, or the right to give it."""
        outcome: Outcome | None = "died"
        try:
            found = await self._elsewhere(asked, principal, ends)
            if isinstance(found, Entry):
                outcome = found
                return found
            outcome = None  # not decided before the answer is complete
            found.flight = flight
            return found
        finally:
            if outcome is not None:
                flight.end(outcome)

    async def _elsewhere(self, asked: _Asked, principal: Principal, ends: float) -> Entry | _Lead:
        """The answer from Redis, awaited while another process gives it; or the right to give it."""
        shared, token, pause = self._parts.shared, secrets.token_hex(16), _FIRST_PAUSE_SECONDS
        tier: Literal["redis", "shared"] = "redis"
        while shared and time.monotonic() < ends:
            look = await shared.look(asked.name, token)
            if look.state == "value":
                kept = self._opened(look.value, asked, principal)
                if kept is None or not await self._holds(kept, asked, principal):
                    await shared.drop(asked.name)
                    return _Lead()
                self._recent.put(asked.name, kept, look.seconds)
                cache_hit(tier)
                return kept
            if look.state != "following":
                return _Lead(
                    token if look.state == "leading" else "", looked="error" if look.state == "down" else "miss"
                )
            tier = "shared"
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return _Lead()

    def _opened(self, value: bytes, asked: _Asked, principal: Principal) -> Entry | None:
        content = self._parts.sealer.unseal(asked.name, principal.tenant, value)
        if content is None:
            cache_rejected("forged")
            return None
        entry = from_bytes(content)
        if entry is None:
            cache_rejected("unreadable")
        return entry

    async def _holds(self, kept: Entry, asked: _Asked, principal: Principal) -> bool:
        """Whether every cited document is still there in that version and open to this principal, and nobody has
        judged the answer wrong.
        """
        if await asyncio.to_thread(self._parts.disputed, kept.answer.text):
            self._recent.drop(asked.name)
            cache_rejected("disputed")
            return False
        documents = await asyncio.to_thread(self._parts.versions, kept.versions)
        if all(
            (document := documents.get(document_id)) is not None
            and document.content_hash == content_hash
            and principal.may_read(document.tenant, document.access)
            for document_id, content_hash in kept.versions.items()
        ):
            return True
        self._recent.drop(asked.name)
        cache_rejected("outdated")
        return False

    # --- answering and keeping -----------------------------------------------------------------------------------

    async def _answer(
        self, lead: _Lead, asked: _Asked, request: AskRequest, principal: Principal, seconds: float
    ) -> AsyncGenerator[Event, None]:
        """The pipeline's events. What is kept of them is kept before the last one is told."""
        outcome: Outcome = "died"
        told: list[Event] = []
        renewing = asyncio.create_task(self._renew(asked.name, lead.token)) if lead.token else None
        try:
            async with aclosing(self._pipeline.stream(request, principal)) as events:
                async for event in events:
                    if isinstance(event, Completed):
                        entry = await asyncio.to_thread(self._entry, asked, told, event.answer, request.narrow)
                        outcome = entry or "alone"
                        if entry:
                            await self._keep(entry, lead, asked, principal)
                        yield Completed(_timed(event.answer, seconds))
                        return
                    if not isinstance(event, DraftWritten):
                        told.append(event)
                    yield event
        except Full:
            raise  # it `died`: the next who waits may still find a place
        except Exception:
            outcome = "alone"  # whoever waits may have better luck, but not one after the other
            raise
        finally:
            if renewing:
                renewing.cancel()
            self._end(lead, asked.name, outcome)

    def _entry(self, asked: _Asked, told: list[Event], answer: Answer, narrow: SearchFilter) -> Entry | None:
        """What is kept; None for an answer that not everybody who asks the same may get. Blocks."""
        try:
            unchanged = answer.snapshot == asked.snapshot == self._parts.corpus.refresh()
            documents = self._parts.versions({citation.document_id for citation in answer.citations})
        except BankSightError:  # the answer is good all the same
            return None
        if not answer.cacheable or not unchanged or asked.day != (narrow.as_of or _today()):
            return None
        if {citation.document_id for citation in answer.citations} - documents.keys():
            return None
        if any(label.startswith(PRIVATE_LABEL) for each in documents.values() for label in each.access):
            return None
        if self._personal(answer.text) or self._parts.disputed(answer.text):
            return None
        return entry_of(answer, told, {document_id: each.content_hash for document_id, each in documents.items()})

    async def _keep(self, entry: Entry, lead: _Lead, asked: _Asked, principal: Principal) -> None:
        seconds = spread(self._settings.ttl_seconds, self._settings.ttl_jitter)
        self._recent.put(asked.name, entry, seconds)
        if lead.flight:
            lead.flight.end(entry)
        if self._parts.shared:
            sealed = self._parts.sealer.seal(asked.name, principal.tenant, to_bytes(entry))
            await self._parts.shared.store(asked.name, lead.token, sealed, seconds)

    async def _renew(self, name: str, token: str) -> None:
        """Tell other processes, again and again, that we are still at it."""
        while self._parts.shared:
            await asyncio.sleep(self._settings.flight_seconds / 3)
            await self._parts.shared.renew(name, token)

    def _end(self, lead: _Lead, name: str, outcome: Outcome) -> None:
        if lead.flight:
            lead.flight.end(outcome)
        if not lead.token or not self._parts.shared:
            return
        if outcome == "died":
            self._parts.shared.give_up(name, lead.token)
        elif outcome == "alone":
            self._parts.shared.unshare(name, lead.token)


def open_cached_answers(
    pipeline: QueryPipeline,
    stores: Stores,
    redis: RedisConnection | None,
    encoder: str,
    settings: Settings,
    corpus: Corpus | None = None,
    disputed: Callable[[str], bool] = lambda _: False,
) -> CachedAnswers | QueryPipeline:
    """The pipeline behind its cache, or alone where `cache.mode` is off. Raises `ConfigurationError`."""
    chosen = settings.cache
    if chosen.mode == "off":
        return pipeline
    parts = Parts(
        sealer=Sealer(cache_secret(chosen.secret.get_secret_value(), settings.data_dir)),
        shared=SharedAnswers(redis, chosen.flight_seconds) if redis else None,
        corpus=corpus or stores.catalog,
        versions=LiveDocuments(stores.registry),
        conditions=conditions_of(settings, encoder),
        patience_seconds=settings.server.deadline_seconds,
        disputed=disputed,
        regions=settings.privacy.regions,
    )
    return CachedAnswers(pipeline, parts, chosen)


def _timed(answer: Answer, seconds: float) -> Answer:
    """The answer with the time of the look into the cache before it."""
    total = answer.timings.get("total", 0.0) + seconds
    return replace(answer, timings={**answer.timings, "cache": seconds, "total": total})


def _today() -> date:
    return datetime.now(UTC).date()
