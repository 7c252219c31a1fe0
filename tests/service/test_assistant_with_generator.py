"""The Assistant with its Generator: whole answers over HTTP, with the simulated engine in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import psutil
import pytest

from rag.settings import Settings

STREAMS = 120
QUESTION = "Within how many business days must a bank determine whether an error occurred?"
ASKED = {"question": QUESTION, "fresh": True}  # not from the cache: here it is the engine that counts
PATIENT = {
    "BANKSIGHT__GENERATION__ENGINE": "simulated",
    "BANKSIGHT__GENERATION__SERVING": "service",
    "BANKSIGHT__GENERATION__FALLBACK": "[extractive]",
    "BANKSIGHT__GENERATION__FIRST_TOKEN_SECONDS": "100",
    "BANKSIGHT__GENERATION__TOKEN_SECONDS": "100",
    "BANKSIGHT__GENERATION__DEADLINE_SECONDS": "110",
    "BANKSIGHT__SERVER__DEADLINE_SECONDS": "120",
    "BANKSIGHT__SERVER__MAX_CONCURRENCY": "200",
    "BANKSIGHT__ADMISSION__SLOTS": "200",  # the door lets everybody through: here it is the engine's queue that counts
}


def simulated(**options: object) -> dict[str, str]:
    """An environment with a patient Assistant and a Generator with these options."""
    return PATIENT | {f"BANKSIGHT__GENERATION__SIMULATED__{name.upper()}": str(it) for name, it in options.items()}


@pytest.fixture
def begin(start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """`begin(slots=4)`: a running Assistant with a Generator, its source ingested."""

    def start(**options: object) -> Any:
        server = start_server(make_service_settings(), **simulated(**options))
        server.wait_until_ready()
        server.ingest()
        return server

    return start


def generator_of(server: Any) -> psutil.Process:
    """The Generator's process."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    (process,) = (each for each in children if ("--service-name", "Generator") in pairwise(each.cmdline()))
    return process


async def stream(client: httpx.AsyncClient, url: str) -> list[tuple[str, Any]]:
    """The events of one streamed answer."""
    answer = await client.post(f"{url}/v1/ask", json=ASKED | {"stream": True})
    frames = re.findall(r"^event: (\w+)\ndata: (.*)$", answer.text, re.MULTILINE)
    return [(name, json.loads(data)) for name, data in frames]


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=150, trust_env=False, limits=httpx.Limits(max_connections=None))


async def test_of_many_streams_at_the_same_time_none_is_dropped_and_every_text_is_right(begin: Any) -> None:
    server = await asyncio.to_thread(begin, slots=STREAMS, queue_limit=10, tokens_per_second=20)
    async with client() as caller:
        streams = await asyncio.gather(*(stream(caller, server.url) for _ in range(STREAMS)))
        health = (await caller.get(f"{server.url}/health")).json()
        metrics = (await caller.get(f"{server.url}/metrics")).text
    answers = [dict(events)["answer"] for events in streams]
    assert [events[-1][0] for events in streams] == ["done"] * STREAMS
    assert {each["engine"] for each in answers} == {"simulated"}
    assert {each["degraded"] for each in answers} == {""}
    assert {each["text"] for each in answers} == {answers[0]["text"]}
    assert "10 business days" in answers[0]["text"]
    assert health["checks"]["llm_loaded"] is True
    assert health["checks"]["engines"]["simulated"]["slots"] == STREAMS
    assert f'llm_engine_limit{{engine="simulated",state="running"}} {STREAMS}.0' in metrics
    assert 'llm_engine_ended_total{engine="simulated",outcome="completed"}' in metrics


async def test_a_full_queue_is_429_with_the_time_to_come_back(begin: Any) -> None:
    server = await asyncio.to_thread(begin, slots=1, queue_limit=0, tokens_per_second=1)
    async with client() as caller:
        asking = asyncio.create_task(stream(caller, server.url))
        await until_running(caller, server, 1)
        refused = await caller.post(f"{server.url}/v1/ask", json=ASKED)
        asking.cancel()
        await until_running(caller, server, 0)
    assert refused.status_code == 429
    assert refused.json()["type"].endswith(":full")
    assert int(refused.headers["retry-after"]) > 1


async def test_when_the_generator_dies_the_documents_are_quoted_and_when_it_is_back_it_answers(begin: Any) -> None:
    server = await asyncio.to_thread(begin, slots=4, queue_limit=4, tokens_per_second=1, first_token_seconds=3)
    async with client() as caller:
        asking = asyncio.create_task(stream(caller, server.url))
        await until_running(caller, server, 1)
        generator_of(server).kill()
        answer = dict(await asking)["answer"]
        assert (answer["engine"], answer["degraded"], answer["cacheable"]) == ("extractive", "failed", False)
        assert "10 business days" in answer["text"]
        assert answer["notice"]
        await until_running(caller, server, 0)  # asks the new one


async def test_after_sigterm_a_stream_is_finished_by_the_engine(begin: Any) -> None:
    server = await asyncio.to_thread(begin, slots=4, queue_limit=4, tokens_per_second=10, first_token_seconds=2)
    async with client() as caller:
        asking = asyncio.create_task(stream(caller, server.url))
        await until_running(caller, server, 1)
        os.kill(server.process.pid, signal.SIGTERM)
        answer = dict(await asking)["answer"]
    assert (answer["engine"], answer["degraded"], answer["status"]) == ("simulated", "", "answered")
    assert await asyncio.to_thread(server.stop) == 0


async def until_running(caller: httpx.AsyncClient, server: Any, number: int) -> None:
    """Return when so many requests run in the Generator."""
    found: dict[str, Any] = {}
    for _ in range(300):
        found = (await caller.get(f"{server.url}/health")).json()["checks"]["engines"]["simulated"]
        if found["slots"] and found["running"] == number:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not {number} running: {found}")
