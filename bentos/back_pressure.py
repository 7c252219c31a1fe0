"""The door: who may begin now, who waits a moment, and who is told when to come back.

Questions that must be answered anew take a slot of the language model, so they pass the fair queue; everything else is
quick and only counted. Whoever is refused gets a problem document with `Retry-After`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.admission import PROBES
from bentos.draining import Draining
from bentos.fair_queue import Client, FairQueue, Overloaded, Reason, Room
from bentos.limits import rate_headers, retry_after, used_up, with_headers
from bentos.places import Place
from bentos.problems import Problem, respond
from rag.domain import Principal
from rag.errors import Full
from rag.operations import deadline, telemetry, turns
from rag.operations.limits import RateLimiter, tallied
from rag.settings import Settings
from rag.storage.redis_connection import RedisConnection

QUESTIONS: Final = frozenset({"/v1/ask", "/v1/chat/completions"})
UPLOADS: Final = frozenset({"/v1/documents"})  # which take as long as the line is slow
DEADLINE_HEADER: Final = "x-deadline-seconds"  # how long the caller will wait, where that is less than the server would

_BYTES_PER_TOKEN: Final = 4  # of English
_RULES_TOKENS: Final = 200  # of a prompt: what the model is told besides passages and question
_BESIDE_THE_ENGINE: Final = 1.25  # questions for each slot: those being searched or checked leave the engine idle
_SLOTS: Final = 8  # of an engine that does not say how many it has
_SENTENCES: Final[dict[Reason, str]] = {
    "over_share": "You have more questions open than your share of the service; wait for an answer, then ask the next.",
    "full": "All places are taken; try again in a moment.",
    "deadline": "So much is waiting that your question would not be answered in time; try again in a moment.",
}


class BackPressure:
    """Lets requests in as `FairQueue` says, gives each its deadline, and nobody while the service stops."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Callable[[], Settings],
        identify: Callable[[Request], Awaitable[Principal]],
        engine_slots: Callable[[], int],
        redis: Callable[[], RedisConnection | None] = lambda: None,
        draining: Draining | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.app = app
        self._settings = settings
        self._identify = identify
        self._engine_slots = engine_slots
        self._draining = draining
        self._chance = chance or random.Random()  # noqa: S311 - spreads callers, guards nothing
        self._others = 0
        self._questions = 0  # with a place, waiting for one, or not asking for one yet
        self.queue = FairQueue(self._room)
        self._rates = RateLimiter(lambda: self._settings().limits, redis)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        try:
            if self._draining and self._draining.begun:
                raise _stopping()
            with self._draining.watching() if self._draining else nullcontext():
                await self._let_in(scope, receive, send)
        except ClientDisconnect:
            return
        except (Problem, Full, HTTPException) as problem:
            await respond(problem, Request(scope))(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or not scope["path"].startswith("/v1/") or scope["path"] in UPLOADS:
            await self._count_in(scope, receive, send)
            return
        settings, headers = self._settings(), Headers(scope=scope)
        with deadline.within(min(settings.server.deadline_seconds, _patience(headers))):
            principal = await self._identify(Request(scope))
            limits = self._rates.limits(principal, headers.get("authorization", ""))
            standings = await self._rates.take(limits)
            if standings and standings[-1].verdict == "refused":
                raise used_up(standings, self._chance)
            send = with_headers(send, rate_headers(standings))
            if scope["path"] not in QUESTIONS:
                await self._count_in(scope, receive, send)
                return
            cost = estimated_tokens(headers.get("content-length", ""), settings)
            with tallied() as tally:
                try:
                    await self._answer(Client(principal.tenant, principal.subject), cost, (scope, receive, send))
                finally:
                    telemetry.QUOTA_TOKENS.inc(tally.tokens if limits else 0)
                    await self._rates.spend(limits, tally.tokens)

    async def _count_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._others >= self._settings().server.max_concurrency:
            raise self._refusal(Overloaded("full", 1.0))
        self._others += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._others -= 1

    async def _answer(self, client: Client, cost: float, call: tuple[Scope, Receive, Send]) -> None:
        """Pass a question on. Only when it must be answered anew, it asks for a place (`rag.operations.turns`).

        Who has more than their share of the places already is refused at once: a flood must cost next to nothing.
        """
        scope, receive, send = call
        settings = self._settings()
        if flood := self.queue.over_share(client, cost, deadline.remaining(settings.server.deadline_seconds)):
            raise self._refusal(flood)
        if self._questions - self.queue.running - self.queue.waiting >= settings.server.max_concurrency:
            raise self._refusal(Overloaded("full", 1.0))
        place = Place(self.queue, client, cost, settings, self._refusal)
        self._questions += 1
        try:
            with turns.kept_by(place.take):
                await self.app(scope, receive, place.watching(send))
        finally:
            self._questions -= 1
            place.give_back()

    def _refusal(self, refusal: Overloaded) -> Full:
        telemetry.ADMISSION_REJECTED.labels(refusal.reason).inc()
        return Full(_SENTENCES[refusal.reason], retry_after(refusal.seconds, self._chance), refusal.reason)

    def _room(self) -> Room:
        settings = self._settings().admission
        slots = settings.slots or math.ceil(self._engine_slots() * _BESIDE_THE_ENGINE) or _SLOTS
        return Room(slots, min(slots, settings.user_slots or slots), settings.queue, settings.queue_seconds)


def estimated_tokens(content_length: str, settings: Settings) -> float:
    """What a question will cost at most: its prompt, estimated without reading it, and the longest answer."""
    length = int(content_length) if content_length.isdecimal() else settings.question.max_characters
    asked = min(length, settings.question.max_characters) / _BYTES_PER_TOKEN
    return _RULES_TOKENS + asked + settings.generation.passage_tokens + settings.generation.max_tokens


def _patience(headers: Headers) -> float:
    try:
        seconds = float(headers.get(DEADLINE_HEADER, "inf"))
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


def _stopping() -> Problem:
    headers = {"Retry-After": "1", "Connection": "close", "X-Drain": "1"}
    return Problem(503, "stopping", "This server is stopping; ask again, and another one answers.", headers)
