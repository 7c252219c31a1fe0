"""What the Generator answers to an Assistant, over HTTP: streams of lines, each a JSON object.

    POST /generate   a `GenerationRequest`; lines {"text", "tokens"}, and in the end {"finished": …}
    GET /watch       first what the engine is, and then every second what it does, until the caller hangs up
    GET /stats       what it does now

Hanging up cancels. A full queue is 429 with `Retry-After`; errors are problem documents.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bentos import problems
from bentos.draining import Draining
from bentos.spans import Traced
from rag.errors import Busy
from rag.models.engine import Engine, Generation, GenerationRequest, Piece

MEDIA_TYPE: Final = "application/x-ndjson"
STATS_SECONDS: Final = 1.0
_TOGETHER_SECONDS: Final = 0.08  # three tokens of a fast engine; each line costs both processes as much as a token


async def _engine(request: Request) -> Engine:
    """The engine. Raises `Busy` while it is loaded, and what was wrong where it could not be."""
    opening: Future[Engine] = request.app.state.opening
    if not opening.done():
        raise Busy("The language model is being loaded; try again in a moment.", retry_after=5)
    return opening.result()


OpenEngine = Annotated[Engine, Depends(_engine)]


class _GenerationStream(StreamingResponse):
    """Gives the slot back however it ends, also when the caller is gone before the first line."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(_lines(generation), media_type=MEDIA_TYPE)
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.cancel()


def create_app(opening: Future[Engine], draining: Draining) -> FastAPI:
    """The application over an engine that is open or opening."""
    app = FastAPI(title="Generator", openapi_url=None, docs_url=None, redoc_url=None, telemetry={"tracing": False})
    app.state.opening = opening
    problems.install(app)
    app.add_middleware(Traced)

    @app.post("/generate")
    async def generate(asked: GenerationRequest, engine: OpenEngine) -> Any:
        return _GenerationStream(engine.submit(asked))

    @app.get("/watch")
    async def watch(engine: OpenEngine) -> Any:
        return StreamingResponse(_watched(engine, draining), media_type=MEDIA_TYPE)

    @app.get("/stats")
    async def stats(engine: OpenEngine) -> Any:
        return asdict(engine.stats())

    return app


async def _lines(generation: Generation) -> AsyncGenerator[str, None]:
    """The first token at once, and then what came within some hundredths of a second together."""
    clock = asyncio.get_running_loop().time
    due, text, tokens = clock(), "", 0
    async for event in generation:
        if isinstance(event, Piece):
            text, tokens = text + event.text, event.tokens
            if clock() < due:
                continue
            due = clock() + _TOGETHER_SECONDS
        if text:
            yield _line({"text": text, "tokens": tokens})
            text = ""
        if not isinstance(event, Piece):
            yield _line({"finished": asdict(event)})


async def _watched(engine: Engine, draining: Draining) -> AsyncGenerator[str, None]:
    with draining.watching():
        yield _line({"engine": engine.name, "model": engine.model_name, "context_window": engine.context_window})
        while True:
            yield _line(asdict(engine.stats()))
            await asyncio.sleep(STATS_SECONDS)


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False) + "\n"
