"""Server-sent events: our own, whose last event always says how the stream ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.types import Send

from bentos.problems import Problem, problem_from
from bentos.schemas import Answer, Citation
from rag.operations import telemetry
from rag.query.events import CitationReleased, Completed, DraftWritten, Event, SentenceReleased

KEEP_ALIVE = ": keep-alive\n\n"


class EventStream(StreamingResponse):
    """Closes its generator as soon as the caller goes away, not when the garbage collector finds it."""

    def __init__(self, frames: AsyncGenerator[str, None]) -> None:
        self._frames = frames
        # Proxies must pass every event on at once; nginx reads X-Accel-Buffering.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, headers=headers, media_type="text/event-stream")

    async def stream_response(self, send: Send) -> None:
        """Send everything, then close the generator, whatever happened."""
        try:
            await super().stream_response(send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._frames.aclose()


def event_schema(*names: str) -> dict[str, Any]:
    """The OpenAPI schema of one event of a stream; `data` is JSON in one line. Without names, events have none."""
    data = {"data": {"type": "string"}}
    if not names:
        return {"type": "object", "properties": data, "required": ["data"]}
    return {"type": "object", "properties": {"event": {"enum": list(names)}, **data}, "required": ["event", "data"]}


def frame(event: str, data: Any) -> str:
    """One server-sent event with JSON data, which never holds a line break."""
    return f"event: {event}\ndata: {to_json(data).decode()}\n\n"


async def answer_frames(first: Event, rest: AsyncGenerator[Event | None, None]) -> AsyncGenerator[str, None]:
    """`status`, `draft`, `sentence`, `citation` events, then `answer` and `done`; or `error` where it failed.

    What the next event follows at once goes out with it: each write costs the server and the proxy as much as any.
    """
    held = ""
    try:
        yield _event_frame(first)
        async for event in rest:
            held += KEEP_ALIVE if event is None else _event_frame(event)
            if not isinstance(event, CitationReleased | Completed):
                yield held
                held = ""
        yield held + frame("done", {})
    except Exception as error:  # noqa: BLE001 - the status line is gone, so the error travels as an event
        yield held + frame("error", broken_off(error, "/v1/ask").document("/v1/ask"))
    finally:
        await rest.aclose()


def broken_off(error: Exception, route: str) -> Problem:
    """The problem that a stream ends with. One that is our fault is counted: its status line said 200."""
    problem = problem_from(error)
    if problem.status >= 500:
        telemetry.STREAMS_BROKEN.labels(route).inc()
    return problem


def _event_frame(event: Event) -> str:
    if isinstance(event, SentenceReleased):
        return frame("sentence", {"index": event.index, "text": event.text})
    if isinstance(event, DraftWritten):
        return frame("draft", {"text": event.text})
    if isinstance(event, CitationReleased):
        return frame("citation", Citation.model_validate(event.citation))
    if isinstance(event, Completed):
        return frame("answer", Answer.model_validate(event.answer))
    return frame("status", {"stage": event.stage, "seconds": event.seconds, "detail": event.detail})
