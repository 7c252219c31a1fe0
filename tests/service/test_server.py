"""The service as a process: probes, metrics, batching, disconnects, endings, and what it must not load or send."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rag.settings import Settings

QUESTION = "Within how many business days must a bank determine whether an error occurred?"


def _metric(server: Any, name: str) -> float:
    """The sum of a metric over its labels."""
    text = httpx.get(f"{server.url}/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line))


def _workers(server: Any) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_probes_and_health_agree(server: Any) -> None:
    health = httpx.get(f"{server.url}/health").json()
    assert httpx.get(f"{server.url}/livez").status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    assert health["status"] == "ok"
    assert set(health["checks"]) == {
        "llm_loaded", "gpu_available", "gpu_memory_free", "vector_db_count", "uptime_seconds", "redis", "database",
        "snapshot", "engine", "engines",
    }  # fmt: skip
    assert health["checks"]["vector_db_count"] >= 5


def test_front_page_and_openapi_document_are_ours_and_need_no_internet(server: Any) -> None:
    page, document = httpx.get(server.url), httpx.get(f"{server.url}/docs.json").json()
    assert document["info"]["title"] == "BankSight"
    assert all(path in page.text for path in document["paths"])
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page.text)
    assert "<script" not in page.text


def test_unknown_route_is_a_problem_document_behind_bentoml_too(server: Any) -> None:
    response = httpx.get(f"{server.url}/no/such/route")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_metrics_count_answers_by_status_and_requests_by_route(server: Any) -> None:
    before = _metric(server, "answers_total")
    assert httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}, timeout=30).status_code == 200
    text = httpx.get(f"{server.url}/metrics").text
    assert _metric(server, "answers_total") == before + 1
    assert 'http_requests_total{method="POST",route="/v1/ask",status="200"}' in text
    assert not re.search(r'="[^"]*[0-9a-f]{16}', text), "a label holds an id"
    assert 'ingestion_documents_total{outcome="added"}' in text
    assert _metric(server, "corpus_snapshot") >= 1
    assert _metric(server, "http_request_duration_seconds_count") > 0
    assert _metric(server, "vector_db_query_duration_seconds_count") > 0


def test_the_api_process_loads_no_torch(server: Any) -> None:
    httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}, timeout=30)
    loaded = {Path(each.path).name for worker in _workers(server) for each in worker.memory_maps()}
    assert any(name.startswith("libonnxruntime") or "onnxruntime" in name for name in loaded)
    assert not [name for name in loaded if name.startswith(("libtorch", "libc10"))]


@pytest.mark.proves("ASVS 14.2.3", "GDPR 44", "ISO A.8.12")
def test_nothing_of_the_service_talks_to_anybody_else(server: Any) -> None:
    httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}, timeout=30)
    processes = [psutil.Process(server.process.pid), *_workers(server)]
    peers = {each.raddr.ip for process in processes for each in process.net_connections("inet") if each.raddr}
    assert peers <= {"127.0.0.1", "::1"}


async def test_client_that_goes_away_stops_the_work_and_frees_its_place(server: Any) -> None:
    """test_disconnects.py proves that the work stops; this is the same through BentoML: nothing is lost or stuck."""
    body = json.dumps({"question": QUESTION, "stream": True})
    before = _metric(server, "answers_total")
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        head = (
            f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        writer.write(f"{head}\r\n\r\n{body}".encode())
        await writer.drain()
        await reader.readline()  # the status line: the stream has begun
        writer.transport.abort()
    await asyncio.sleep(1)
    assert _metric(server, "answers_total") <= before + 5
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"{server.url}/v1/ask", json={"question": QUESTION}, timeout=30)).status_code == 200


async def test_concurrent_callers_all_get_their_own_answer(server: Any) -> None:
    queries = [f"{word} number {number}" for number in range(10) for word in ("fee", "error", "card", "hours")]
    async with httpx.AsyncClient(timeout=60) as client:
        alone = [(await client.post(f"{server.url}/v1/search", json={"query": query})).json() for query in queries[:8]]
        calls = [client.post(f"{server.url}/v1/search", json={"query": query}) for query in queries]
        together = await asyncio.gather(*calls)
    assert {response.status_code for response in together} == {200}
    for one, many in zip(alone, together, strict=False):
        ids = [[each["chunk_id"] for each in found["passages"]] for found in (one, many.json())]
        assert ids[0] == ids[1]


def test_sigterm_lets_a_running_stream_finish_and_gives_the_data_folder_back(
    start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]
) -> None:
    settings = make_service_settings()
    server = start_server(settings)
    server.wait_until_ready()
    server.ingest()
    lines: list[str] = []
    with httpx.stream(
        "POST", f"{server.url}/v1/ask", json={"question": QUESTION, "stream": True}, timeout=60
    ) as stream:
        incoming = stream.iter_lines()
        lines.append(next(incoming))
        server.process.terminate()
        lines += list(incoming)
    assert "event: done" in lines
    assert server.stop() == 0
    again = start_server(settings)
    again.wait_until_ready()
    assert httpx.get(f"{again.url}/health").json()["checks"]["vector_db_count"] >= 5
    assert again.stop() == 0


def test_second_service_on_the_same_data_folder_says_so_and_stays_unready(
    server: Any, start_server: Callable[..., Any]
) -> None:
    second = start_server(server.settings)
    _wait_for(lambda: _answers(second), "the second server never answered")
    _wait_for(lambda: "unavailable" in httpx.get(f"{second.url}/health").text, "it never said what is wrong")
    answer = httpx.post(f"{second.url}/v1/ask", json={"question": QUESTION})
    assert httpx.get(f"{second.url}/livez").status_code == 200
    assert httpx.get(f"{second.url}/readyz").status_code == 503
    assert answer.status_code == 503
    assert "is in use by the BankSight that serves http" in answer.json()["detail"]
    assert second.stop() == 0


def _answers(server: Any) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) != 0:
            return False
    try:
        return httpx.get(f"{server.url}/livez", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def batching_server(start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]) -> Iterator[Any]:
    """The same with the encoder in a service of its own, which merges the questions of several callers."""
    server = start_server(make_service_settings(), BANKSIGHT__EMBEDDING__SERVING="service")
    server.wait_until_ready()
    server.ingest()
    yield server
    server.stop()


async def test_concurrent_questions_share_forward_passes_through_the_embedder_service(batching_server: Any) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        calls, texts = _metric(batching_server, "embedding_model_calls_total"), 64
        requests = [
            client.post(f"{batching_server.url}/v1/search", json={"query": f"what is the fee number {number}"})
            for number in range(texts)
        ]
        answers = await asyncio.gather(*requests)
    made = _metric(batching_server, "embedding_model_calls_total") - calls
    assert {answer.status_code for answer in answers} == {200}
    assert 0 < made < texts


async def test_one_bad_request_among_many_does_not_spoil_its_neighbours(batching_server: Any) -> None:
    bodies: list[dict[str, Any]] = [{"query": f"fee {number}"} for number in range(20)]
    bodies[7] = {"query": ""}
    bodies[13] = {"query": 13}
    async with httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.gather(*(client.post(f"{batching_server.url}/v1/search", json=body) for body in bodies))
    assert [place for place, answer in enumerate(answers) if answer.status_code != 200] == [7, 13]
