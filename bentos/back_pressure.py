"""The door: who may begin now, who waits a moment, and who is told when to come back.

Questions take a slot of the language model, so they pass the fair queue; everything else is quick and only counted.
Whoever is refused gets a problem document with `Retry-After` before anything of the request was read.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any, Final, Literal

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.admission import PROBES
from bentos.draining import Draining
from bentos.fair_queue import Client, FairQueue, Overloaded, Reason, Room
from bentos.limits import rate_headers, retry_after, used_up, with_headers
from bentos.problems import Problem, respond
from rag.domain import Principal
from rag.operations import deadline, telemetry
from rag.operations.limits import RateLimiter, note_at_least, tallied
from rag.settings import Settings
from rag.storage.redis_connection import RedisConnection

QUESTIONS: Final = frozenset({"/v1/ask", "/v1/chat/completions"})
UPLOADS: Final = frozenset({"/v1/documents"})  # which take as long as the line is slow
DEADLINE_HEADER: Final = "x-deadline-seconds"  # how long the caller will wait, where that is less than the server would

_BYTES_PER_TOKEN: Final = 4  # of English
_RULES_TOKENS: Final = 200  # of a prompt: what the model is told besides passages and question
_BESIDE_THE_ENGINE: Final = 1.25  # questions for each slot: those being searched or checked leave the engine idle
_SLOTS: Final = 8  # of an engine that does not say how many it has
# Not 503, which a proxy takes for a broken node: when all are full it would have none left and lose what it holds.
_BUSY: Final = 429
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
        except (Problem, HTTPException) as problem:
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
        """Pass a question on when it has a slot, which it keeps to its last byte. Raises `Problem`."""
        scope, receive, send = call
        turn: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()
        outcome: Literal["done", "given_up"] = "given_up"
        status = 0

        async def noting(message: Message) -> None:
            nonlocal outcome, status
            status = message.get("status", status)
            await send(message)
            if status == HTTPStatus.OK and message["type"] == "http.response.body" and not message.get("more_body"):
                outcome = "done"

        def called(said: Overloaded | None) -> None:
            if not turn.done():
                turn.set_result(said)

        try:
            seconds = deadline.remaining(self._settings().server.deadline_seconds)
            ticket = self.queue.enter(client, cost, seconds, called)
        except Overloaded as refusal:
            raise self._refusal(refusal) from None
        try:
            rest = receive if ticket.began is not None else await self._wait(turn, receive)
            await self.app(scope, rest, noting)
        finally:
            self.queue.leave(ticket, outcome)
            if outcome == "given_up" and status == HTTPStatus.OK:
                note_at_least(int(cost))

    async def _wait(self, turn: asyncio.Future[Overloaded | None], receive: Receive) -> Receive:
        """Until it is this request's turn. Raises `Problem`, and `ClientDisconnect` when nobody waits any more."""
        early: list[Message] = []
        gone = asyncio.ensure_future(_read_until_gone(receive, early))
        began = asyncio.get_running_loop().time()
        patience = min(self._settings().admission.queue_seconds, deadline.remaining(math.inf))
        telemetry.ADMISSION_WAITING.inc()
        try:
            waited: set[asyncio.Future[Any]] = {turn, gone}
            await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            telemetry.ADMISSION_WAITING.dec()
            telemetry.ADMISSION_SECONDS.observe(asyncio.get_running_loop().time() - began)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        if not gone.cancelled():
            raise gone.exception() or ClientDisconnect
        refusal = turn.result() if turn.done() else Overloaded("full", self.queue.expected_seconds())
        if refusal:
            raise self._refusal(refusal)
        return _again(early, receive)

    def _refusal(self, refusal: Overloaded) -> Problem:
        telemetry.ADMISSION_REJECTED.labels(refusal.reason).inc()
        pause = retry_after(refusal.seconds, self._chance)
        return Problem(_BUSY, refusal.reason, _SENTENCES[refusal.reason], {"Retry-After": str(pause)})

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


async def _read_until_gone(receive: Receive, early: list[Message]) -> None:
    """Read on behalf of the application: only who reads is told that the caller has hung up."""
    while (message := await receive())["type"] != "http.disconnect":
        early.append(message)


def _again(early: list[Message], receive: Receive) -> Receive:
    messages = iter(early)

    async def replay() -> Message:
        return next(messages, None) or await receive()

    return replay


def _stopping() -> Problem:
    headers = {"Retry-After": "1", "Connection": "close", "X-Drain": "1"}
    return Problem(503, "stopping", "This server is stopping; ask again, and another one answers.", headers)
