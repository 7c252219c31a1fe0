"""A caller that goes away stops the work behind its question, over a real connection to a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn

from bentos.application import create_app
from bentos.opening import Opening
from rag.domain import Principal
from rag.query.events import AskRequest, Event, SentenceReleased, StageFinished
from rag.settings import Settings


class EndlessPipeline:
    """Begins an answer and never ends it; records how it was ended."""

    engines = ()

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def stream(self, _request: AskRequest, _principal: Principal) -> AsyncGenerator[Event, None]:
        try:
            yield StageFinished("check", 0.0)
            yield SentenceReleased(0, "The beginning.")
            self.begun.set()
            await asyncio.sleep(3600)
        finally:
            self.ended.set()


@pytest.fixture
def pipeline() -> EndlessPipeline:
    return EndlessPipeline()


@pytest.fixture
async def port(opening: Opening, service_settings: Settings, pipeline: EndlessPipeline) -> AsyncIterator[int]:
    """The real application on a real socket, with a pipeline that never ends and a deadline of a second."""
    workspace = replace(opening.workspace(), answers=pipeline)  # type: ignore[arg-type]
    server = service_settings.server.model_copy(update={"deadline_seconds": 1.0, "heartbeat_seconds": 0.2})
    settings = service_settings.model_copy(update={"server": server})
    app = create_app(Opening(settings, lambda: (workspace, opening.jobs())).start().wait())
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    await task


async def _leave(port: int, pipeline: EndlessPipeline, path: str, body: dict[str, Any]) -> None:
    """Send a request, wait until the work has begun, and break the connection."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
    await writer.drain()
    await asyncio.wait_for(pipeline.begun.wait(), 10)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


CHAT = {"model": "banksight", "messages": [{"role": "user", "content": "Fees?"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ask", {"question": "Fees?", "stream": True}),
        ("/v1/ask", {"question": "Fees?"}),
        ("/v1/chat/completions", CHAT | {"stream": True}),
        ("/v1/chat/completions", CHAT),
    ],
    ids=["ask streamed", "ask", "chat streamed", "chat"],
)
async def test_caller_that_goes_away_ends_the_pipeline_at_once(
    port: int, pipeline: EndlessPipeline, path: str, body: dict[str, Any]
) -> None:
    await _leave(port, pipeline, path, body)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pipeline.ended.wait(), 0.9)  # before the deadline could have done it
    assert pipeline.ended.is_set()


async def test_deadline_of_a_whole_answer_is_a_504_problem(port: int, pipeline: EndlessPipeline) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"http://127.0.0.1:{port}/v1/ask", json={"question": "Fees?"}, timeout=30)
    assert (response.status_code, response.headers["content-type"]) == (504, "application/problem+json")
    assert pipeline.ended.is_set()


async def test_deadline_of_a_stream_is_its_last_event_after_heartbeats(port: int, pipeline: EndlessPipeline) -> None:
    body = {"question": "Fees?", "stream": True}
    async with httpx.AsyncClient() as client:
        response = await client.post(f"http://127.0.0.1:{port}/v1/ask", json=body, timeout=30)
    blocks = response.text.strip().split("\n\n")
    assert ": keep-alive" in blocks
    assert blocks[-1].startswith("event: error\ndata: ")
    assert json.loads(blocks[-1].split("data: ")[1])["status"] == 504
    assert pipeline.ended.is_set()


async def test_official_client_hears_of_an_error_in_the_middle_of_a_stream(port: int) -> None:
    from openai import APIError, AsyncOpenAI  # noqa: PLC0415 - takes a second

    async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as official:
        stream = await official.chat.completions.create(
            model="banksight", messages=[{"role": "user", "content": "Fees?"}], stream=True
        )
        seen: list[str] = []
        with pytest.raises(APIError, match="within the time allowed"):
            await _read(stream, seen)
    assert "".join(seen) == "The beginning."


async def _read(stream: Any, seen: list[str]) -> None:
    async for chunk in stream:
        seen.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before the error counts
