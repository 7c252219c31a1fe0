"""Too many at once, people who leave, and a server that is told to end: through BentoML, with the simulated engine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.settings import Settings

ROOT = Path(__file__).parents[2]
QUESTION = "Within how many business days must a bank determine whether an error occurred?"
ASKED = {"question": QUESTION, "fresh": True}  # not from the cache: here it is the engine that counts
SLOTS, QUEUE = 10, 6
ENVIRONMENT = {
    "BANKSIGHT__GENERATION__ENGINE": "simulated",
    "BANKSIGHT__GENERATION__SIMULATED__SLOTS": str(SLOTS),
    "BANKSIGHT__GENERATION__SIMULATED__TOKENS_PER_SECOND": "20",
    "BANKSIGHT__ADMISSION__QUEUE": str(QUEUE),
    "BANKSIGHT__ADMISSION__QUEUE_SECONDS": "4",
    "BANKSIGHT__SERVER__DRAIN_NOTICE_SECONDS": "1.5",
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's configuration, for a test to change."""
    return Path(shutil.copytree(ROOT / "configs", tmp_path_factory.mktemp("site") / "configs"))


@pytest.fixture(scope="module")
def crowded(
    start_server: Callable[..., Any], make_service_settings: Callable[..., Settings], configs: Path
) -> Iterator[Any]:
    """A server whose engine has few slots; an answer takes some seconds."""
    settings = make_service_settings()
    ours = ENVIRONMENT | {"BANKSIGHT_CONFIG_DIR": str(configs)}
    ours["BANKSIGHT__EMBEDDING__GRAPH_DIR"] = settings.embedding.graph_dir
    server = start_server(settings, **ours)
    server.wait_until_ready()
    server.ingest()
    yield server
    server.stop()


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits(max_connections=None))


async def engine_of(caller: httpx.AsyncClient, server: Any) -> dict[str, int]:
    found: dict[str, int] = (await caller.get(f"{server.url}/health")).json()["checks"]["engines"]["simulated"]
    return found


async def until_idle(caller: httpx.AsyncClient, server: Any) -> dict[str, int]:
    """Return when nothing runs or waits in the engine."""
    async with asyncio.timeout(30):
        while (stats := await engine_of(caller, server))["running"] + stats["waiting"]:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.05)
    return stats


async def test_overload_is_answered_or_told_when_to_come_back_and_over_when_it_is_over(crowded: Any) -> None:
    most = 0
    async with client() as caller:

        async def ask(delay: float) -> httpx.Response:
            await asyncio.sleep(delay)
            return await caller.post(f"{crowded.url}/v1/ask", json=ASKED)

        asking = [asyncio.create_task(ask(number * 0.03)) for number in range(120)]  # ten times what it can do
        while not all(each.done() for each in asking):
            most = max(most, (await engine_of(caller, crowded))["running"])
            await asyncio.sleep(0.2)
        answers = [each.result() for each in asking]
        after = await caller.post(f"{crowded.url}/v1/ask", json=ASKED)
        metrics = (await caller.get(f"{crowded.url}/metrics")).text
    good = [each for each in answers if each.status_code == 200]
    refused = [each for each in answers if each.status_code != 200]
    assert len(good) >= SLOTS
    assert {each.status_code for each in refused} <= {429}
    assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
    assert {each.headers["content-type"] for each in refused} == {"application/problem+json"}
    assert {each.json()["engine"] for each in (*good, after)} == {"simulated"}
    assert most <= SLOTS
    assert "admission_rejected_total{" in metrics
    assert "admission_queue_length 0.0" in metrics


async def test_while_every_place_is_taken_what_was_answered_before_is_answered_again(crowded: Any) -> None:
    async with client() as caller:
        first = await caller.post(f"{crowded.url}/v1/ask", json={"question": QUESTION})
        asking = [asyncio.create_task(caller.post(f"{crowded.url}/v1/ask", json=ASKED)) for _ in range(30)]
        async with asyncio.timeout(30):
            while not any(each.done() and each.result().status_code == 429 for each in asking):  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.01)
        again = await caller.post(f"{crowded.url}/v1/ask", json={"question": QUESTION})
        new = await caller.post(f"{crowded.url}/v1/ask", json=ASKED)
        statuses = [(await each).status_code for each in asking]
    assert (first.status_code, again.status_code, again.json()["cached"], new.status_code) == (200, 200, True, 429)
    assert set(statuses) == {200, 429}


async def test_when_a_hundred_people_leave_in_the_middle_nothing_goes_on_for_them(crowded: Any) -> None:
    body = json.dumps(ASKED | {"stream": True})
    head = f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"

    async def leave() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(crowded.url.rsplit(":", 1)[1]))
        writer.write(f"{head}\r\n\r\n{body}".encode())
        status = await reader.readline()
        assert b" 200 " in status, status
        writer.transport.abort()

    async with client() as caller:
        before = await until_idle(caller, crowded)
        for _ in range(10):
            await asyncio.gather(*(leave() for _ in range(SLOTS)))
            stats = await until_idle(caller, crowded)
        assert stats["completed"] == before["completed"]
        assert (await caller.post(f"{crowded.url}/v1/ask", json=ASKED)).status_code == 200


async def test_questions_see_no_error_while_documents_come_and_the_configuration_changes(
    crowded: Any, configs: Path
) -> None:
    file, url = configs / "test.yaml", crowded.url
    shipped = file.read_text()

    async def ask(caller: httpx.AsyncClient) -> list[Any]:
        found = []
        while not done.is_set():
            response = await caller.post(f"{url}/v1/ask", json=ASKED)
            found.append((response.status_code, response.json().get("status")))
        return found

    async def reload(caller: httpx.AsyncClient, text: str) -> tuple[int, dict[str, Any]]:
        file.write_text(shipped + text)
        response = await caller.post(f"{url}/v1/admin/reload")
        return response.status_code, response.json()

    done = asyncio.Event()
    async with client() as caller:
        asking = [asyncio.create_task(ask(caller)) for _ in range(4)]
        for number in range(3):
            upload = {"file": (f"note-{number}.txt", f"A note of the bank about case {number}.".encode(), "text/plain")}
            assert (await caller.post(f"{url}/v1/documents", files=upload)).status_code == 202
            status, said = await reload(caller, f"\nrefusal: {{contact: Call {number}., threshold: 0.001}}\n")
            assert (status, "refusal.contact" in said["changed"], said["needs_restart"]) == (200, True, [])
            await asyncio.sleep(0.5)
        status, broken = await reload(caller, "\nrefusal: {contact: 7, threshold: often}\n")
        accepted, waiting = await reload(caller, "\nserver: {ui_port: 8123}\n")
        done.set()
        answers = [each for task in asking for each in await task]
    assert (status, broken["detail"].startswith("Nothing was changed: refusal.")) == (409, True)
    assert (accepted, waiting["needs_restart"]) == (200, ["server.ui_port"])
    assert len(answers) >= 4
    assert set(answers) == {(200, "answered")}


async def test_after_sigterm_ten_open_streams_finish_and_new_requests_are_sent_elsewhere(crowded: Any) -> None:
    """The last test of this server."""
    async with client() as caller:
        body = ASKED | {"stream": True}
        asking = [asyncio.create_task(caller.post(f"{crowded.url}/v1/ask", json=body)) for _ in range(10)]
        async with asyncio.timeout(30):
            while (await engine_of(caller, crowded))["running"] < 10:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.05)
        os.kill(crowded.process.pid, signal.SIGTERM)
        async with asyncio.timeout(10):
            while (refused := await caller.post(f"{crowded.url}/v1/search", json={"query": "fee"})).status_code == 200:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.01)
        ready = await caller.get(f"{crowded.url}/readyz")
        answers = await asyncio.gather(*asking)
    assert (refused.status_code, refused.headers["connection"], ready.status_code) == (503, "close", 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert [each.text.rstrip().endswith("event: done\ndata: {}") for each in answers] == [True] * 10
    assert await asyncio.to_thread(crowded.stop) == 0
