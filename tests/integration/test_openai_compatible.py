"""The engine behind OpenAI's dialect: against a server that is not ours, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from rag.errors import Busy, ModelError, QuestionError
from rag.models.engine import Decoding, Finished, GenerationRequest, Piece
from rag.models.engines.openai_compatible import OpenAICompatibleEngine, Server

REQUEST = GenerationRequest("How long?", Decoding(max_tokens=12))
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNK = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"45 days"},"finish_reason":null}]}\n\n'  # noqa: E501
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def transformers_server(tiny_mistral: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(tiny_mistral)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        until = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield Server(f"http://127.0.0.1:{port}/v1", str(tiny_mistral), context_window=512)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def misbehaving(handle: Handler, **options: int) -> AsyncIterator[OpenAICompatibleEngine]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = OpenAICompatibleEngine(Server(f"http://127.0.0.1:{port}/v1", "m", "sk-secret", **options))
    try:
        yield engine
    finally:
        await engine.close()
        server.close()


def says(data: bytes, *, then_hang: bool = False) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        while then_hang and await reader.read(1024):
            pass

    return handle


async def collected(engine: OpenAICompatibleEngine, request: GenerationRequest = REQUEST) -> tuple[str, Finished]:
    events = [event async for event in engine.submit(request)]
    assert isinstance(events[-1], Finished)
    return "".join(each.text for each in events if isinstance(each, Piece)), events[-1]


async def test_a_server_that_is_not_ours_streams_counts_and_stops(transformers_server: Server) -> None:
    engine = OpenAICompatibleEngine(transformers_server)
    text, finished = await collected(engine)
    again, _ = await collected(engine)
    assert text
    assert text == again
    assert finished.reason in ("stop", "length"), finished.detail
    assert 0 < finished.usage.completion_tokens <= 12
    cut = text[len(text) // 2 :][:2]
    stopped, finished = await collected(engine, replace(REQUEST, decoding=Decoding(max_tokens=12, stop=(cut,))))
    assert (stopped, finished.reason) == (text[: text.find(cut)], "stop")
    assert engine.stats().completed == 3
    await engine.close()


async def test_a_model_that_the_server_does_not_have_is_a_sentence(transformers_server: Server) -> None:
    engine = OpenAICompatibleEngine(replace(transformers_server, model="/nowhere/model"))
    _, finished = await collected(engine)
    assert finished.reason == "failed"
    assert "check base_url, model" in finished.detail
    await engine.close()


async def test_a_server_that_is_down_fails_with_a_sentence() -> None:
    engine = OpenAICompatibleEngine(Server(f"http://127.0.0.1:{free_port()}/v1", "m"))
    _, finished = await collected(engine)
    assert finished.reason == "failed"
    assert "cannot be reached" in finished.detail
    await engine.close()


@pytest.mark.parametrize("sent", [b"", STREAM, STREAM + CHUNK])
async def test_a_hanging_server_ends_at_the_deadline_of_a_token(sent: bytes) -> None:
    async with misbehaving(says(sent, then_hang=True)) as engine:
        text, finished = await collected(engine, replace(REQUEST, token_deadline_seconds=0.2))
    assert finished.reason == "deadline"
    assert text == ("45 days" if sent.endswith(CHUNK) else "")


async def test_the_deadline_of_the_whole_holds_too() -> None:
    async with misbehaving(says(STREAM, then_hang=True)) as engine:
        _, finished = await collected(engine, replace(REQUEST, deadline_seconds=0.2))
    assert finished.reason == "deadline"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-nothing\r\n\r\n",
        STREAM + b"data: {not json\n\n",
        STREAM + b"data: []\n\n",
        STREAM + b'data: {"choices": 7}\n\n',
        STREAM + b'data: {"choices": [{}]}\n\n',
        STREAM + CHUNK,
        STREAM.replace(b"Connection: close", b"Transfer-Encoding: chunked") + b"ff\r\n" + CHUNK,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Welcome</html>",
    ],
)
async def test_garbage_and_a_stream_that_breaks_off_are_failures(sent: bytes) -> None:
    async with misbehaving(says(sent)) as engine:
        _, finished = await collected(engine)
        assert finished.reason == "failed"
        assert finished.detail
        assert (engine.stats().failed, engine.stats().running) == (1, 0)


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Service Unavailable"])
async def test_a_busy_server_makes_the_caller_come_back_when_it_said(status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with misbehaving(says(head)) as engine:
        with pytest.raises(Busy) as refused:
            await collected(engine)
        assert refused.value.retry_after == 7


async def test_a_key_that_is_refused_appears_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    body = b'{"error": {"message": "wrong key sk-secret"}}'
    head = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 45\r\n\r\n"
    with caplog.at_level(logging.INFO):
        async with misbehaving(says(head + body)) as engine:
            _, finished = await collected(engine)
    assert "LLM_API_KEY" in finished.detail
    assert "sk-secret" not in finished.detail + caplog.text + repr(Server("http://x", "m", "sk-secret"))


async def test_cancelling_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + CHUNK)
        while await reader.read(1024):
            pass
        closed.set()

    async with misbehaving(handle) as engine:
        generation = engine.submit(REQUEST)
        events = []
        async for event in generation:
            events.append(event)
            generation.cancel()
        await asyncio.wait_for(closed.wait(), 10)
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "cancelled"
        assert engine.stats().cancelled == 1


async def test_a_request_that_is_cancelled_before_it_began_still_ends() -> None:
    async with misbehaving(says(STREAM, then_hang=True)) as engine:
        generation = engine.submit(REQUEST)
        generation.task.cancel() if generation.task else None
        assert [each.reason async for each in generation if isinstance(each, Finished)] == ["cancelled"]


async def test_the_queue_the_window_and_a_closed_engine_are_refused_at_once() -> None:
    async with misbehaving(says(STREAM, then_hang=True), queue_limit=1, context_window=300) as engine:
        engine.submit(REQUEST)
        with pytest.raises(Busy):
            engine.submit(REQUEST)
        with pytest.raises(QuestionError):
            engine.submit(replace(REQUEST, prompt="long " * 400))
        await engine.close()
        with pytest.raises(ModelError):
            engine.submit(REQUEST)


async def test_what_nobody_foresaw_is_a_failure_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with misbehaving(says(STREAM + CHUNK)) as engine:

        async def unforeseen(_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(engine, "_stream", unforeseen)
        _, finished = await asyncio.wait_for(collected(engine), 10)
        assert (finished.reason, finished.detail) == (
            "failed",
            "asking the language model's server failed: ZeroDivisionError",
        )
        assert (engine.stats().failed, engine.stats().running) == (1, 0)
