"""Running a question to its end: within its deadline, and only for as long as somebody waits for the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import anyio
from fastapi import Request
from starlette.requests import ClientDisconnect

from rag.domain import Answer, Principal
from rag.operations import limits, telemetry
from rag.operations.tracing import traced
from rag.query.events import AskRequest, Completed, Event

if TYPE_CHECKING:
    from rag.bootstrap import Workspace

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def answer_events(workspace: Workspace, asked: AskRequest, caller: Principal) -> AsyncGenerator[Event, None]:
    """What the pipeline says while it answers. The last event is the completed answer; it is counted here."""
    async with aclosing(traced(workspace.answers.stream(asked, caller))) as events:
        async for event in events:
            if isinstance(event, Completed):
                telemetry.answered(event.answer)
                _log(event.answer)
                if not event.answer.cached:  # what was given before costs nobody anything
                    limits.note_tokens(event.answer.tokens.get("prompt", 0) + event.answer.tokens.get("completion", 0))
                yield event
                return
            yield event
    raise RuntimeError("the pipeline ended without an answer")


def _log(answer: Answer) -> None:
    fields = {
        "answer_id": answer.id,
        "receipt_id": answer.receipt_id,
        "status": answer.status,
        "citations": len(answer.citations),
        "engine": answer.engine,
        "degraded": answer.degraded,
        "snapshot": answer.snapshot,
    }
    logger.info("answered", extra=fields)


async def complete(workspace: Workspace, asked: AskRequest, caller: Principal) -> Answer:
    """The answer alone."""
    async with aclosing(answer_events(workspace, asked, caller)) as events:
        async for event in events:
            if isinstance(event, Completed):
                return event.answer
    raise RuntimeError("the pipeline ended without an answer")


async def for_caller(request: Request, work: Awaitable[T], deadline_seconds: float) -> T:
    """The result of `work`, which is cancelled when the caller goes away or the deadline passes.

    Raises `ClientDisconnect` and `TimeoutError`. The request's body must have been read.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, timeout=deadline_seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect if gone.done() else TimeoutError
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def paced(
    events: AsyncGenerator[Event, None], heartbeat_seconds: float, deadline_seconds: float
) -> AsyncGenerator[Event | None, None]:
    """The same events, with None whenever `heartbeat_seconds` pass without one. Raises `TimeoutError` at the deadline.

    Closing it, or cancelling whoever reads it, stops the work behind `events` before it returns.
    """
    now = asyncio.get_running_loop().time
    ends = now() + deadline_seconds
    upcoming: asyncio.Future[Event] | None = None
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(events))
            while not upcoming.done():
                if now() >= ends:
                    raise TimeoutError
                await asyncio.wait({upcoming}, timeout=min(ends - now(), heartbeat_seconds))
                if not upcoming.done():
                    yield None
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        # The server cancels by scope, which would cancel every wait of this clean-up too.
        with anyio.CancelScope(shield=True):
            if upcoming is not None:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
            await events.aclose()


async def first_of(events: AsyncGenerator[Event | None, None]) -> Event:
    """The first event that is not a heartbeat: what fails before it can still become a status line."""
    async for event in events:
        if event is not None:
            return event
    raise RuntimeError("a stream without events")


async def _until_gone(request: Request) -> None:
    """Return when the caller closed the connection. Nothing else can arrive once the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
