"""The Embedder as a running server, and RemoteMiniLM in a second service that depends on it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from rag.models.embedding import MiniLM, fingerprint, open_embedding
from rag.settings import Settings, load_settings

HERE = Path(__file__).parent
LIMIT = 5000  # characters of a text, for these servers


@pytest.fixture(scope="module")
def embedder_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings("test", environment={}, overrides={"data_dir": str(tmp_path_factory.mktemp("embedder"))})


@pytest.fixture(scope="module")
def in_process(embedder_settings: Settings) -> MiniLM:
    return open_embedding(embedder_settings.embedding, embedder_settings.data_dir, "query")


@pytest.fixture(scope="module")
def embedder(start_server: Callable[..., Any], embedder_settings: Settings) -> Any:
    command = ("-m", "bentoml", "serve", "bentos.embedder:Embedder", "--port", "{port}")
    server = start_server(embedder_settings, *command, BANKSIGHT__EMBEDDING__MAX_TEXT_CHARACTERS=str(LIMIT))
    server.wait_until_ready()
    return server


@pytest.fixture(scope="module")
def caller(start_server: Callable[..., Any], embedder_settings: Settings) -> Any:
    command = ("-m", "bentoml", "serve", "remote_caller:Caller", "--working-dir", str(HERE), "--port", "{port}")
    path = os.pathsep.join(filter(None, (str(HERE.parents[1]), os.environ.get("PYTHONPATH"))))
    limit = str(LIMIT)
    server = start_server(embedder_settings, *command, BANKSIGHT__EMBEDDING__MAX_TEXT_CHARACTERS=limit, PYTHONPATH=path)
    server.wait_until_ready()
    return server


async def post_all(url: str, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    """The answers to all of these requests, sent at the same time."""
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as client:
        return await asyncio.gather(*(client.post(url, json=body) for body in bodies))


async def metric(server: Any, name: str) -> float:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        page = (await client.get(f"{server.url}/metrics")).text
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


async def test_concurrent_requests_share_forward_passes_and_get_their_own_vectors(
    embedder: Any, in_process: MiniLM
) -> None:
    questions = [f"What is the fee of account number {n}?" for n in range(64)]
    bodies = [{"texts": [question]} for question in questions]
    await post_all(f"{embedder.url}/encode", bodies)  # BentoML measures single calls before it begins to merge
    calls, texts = await metric(embedder, "embedding_model_calls_total"), await metric(embedder, "embedded_texts_total")
    answers = await post_all(f"{embedder.url}/encode", bodies)
    assert [answer.status_code for answer in answers] == [200] * 64
    vectors = np.array([answer.json()[0] for answer in answers], dtype=np.float32)
    assert np.abs(vectors - in_process.embed(questions)).max() < 1e-5
    assert await metric(embedder, "embedded_texts_total") - texts == 64
    assert await metric(embedder, "embedding_model_calls_total") - calls <= 32


@pytest.mark.parametrize("bad", ["x" * (LIMIT + 1), 7, None, ["nested"]])
async def test_a_bad_text_fails_its_own_request_and_no_other(embedder: Any, bad: Any) -> None:
    bodies = [{"texts": [f"Question {n}?", "A second text."]} for n in range(16)]
    bodies[5] = {"texts": ["A good neighbour in the same request.", bad]}
    answers = await post_all(f"{embedder.url}/encode", bodies)
    assert [answer.status_code for answer in answers] == [400 if n == 5 else 200 for n in range(16)]
    assert all(len(answer.json()) == 2 for n, answer in enumerate(answers) if n != 5)


async def test_a_list_that_is_too_long_is_refused_and_an_empty_one_is_answered(embedder: Any) -> None:
    bodies: list[dict[str, Any]] = [{"texts": ["a"] * 257}, {"texts": []}, {"texts": ["a"] * 256}, {}]
    answers = await post_all(f"{embedder.url}/encode", bodies)
    assert [answer.status_code for answer in answers] == [400, 200, 200, 400]
    assert answers[1].json() == []


async def test_service_that_cannot_load_its_model_says_so_and_is_not_ready(
    start_server: Callable[..., Any], embedder_settings: Settings, tmp_path: Path
) -> None:
    command = ("-m", "bentoml", "serve", "bentos.embedder:Embedder", "--port", "{port}")
    server = start_server(embedder_settings, *command, BANKSIGHT_EMBEDDING_DIR=str(tmp_path))
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        for _ in range(300):
            if "no model.safetensors" in server.log.read_text():
                break
            await asyncio.sleep(0.2)
        assert (await client.get(f"{server.url}/livez")).status_code == 200
        assert (await client.get(f"{server.url}/readyz")).status_code == 503
        answer = await client.post(f"{server.url}/encode", json={"texts": ["What is the fee?"]})
    assert answer.status_code == 503
    assert "correct the path" in server.log.read_text()


async def test_remote_embedding_equals_the_local_one(caller: Any, in_process: MiniLM) -> None:
    texts = ["What is the fee?", "", "interest " * 300, "\N{BANK} " * (LIMIT // 2), *(f"Text {n}." for n in range(300))]
    [answer] = await post_all(f"{caller.url}/embed", [{"texts": texts}])
    vectors = np.array(answer.json(), dtype=np.float32)
    assert np.abs(vectors - in_process.embed(texts)).max() < 1e-5
    [facts] = await post_all(f"{caller.url}/facts", [{}])
    assert facts.json() == {"fingerprint": fingerprint(), "backend": "service"}


async def test_questions_of_coroutines_are_merged_before_they_are_sent(caller: Any, in_process: MiniLM) -> None:
    questions = [f"What is the limit of card number {n}?" for n in range(100)]
    calls = await metric(caller, "embedding_model_calls_total")
    answers = await post_all(f"{caller.url}/ask", [{"question": each} for each in questions])
    assert [answer.status_code for answer in answers] == [200] * 100
    vectors = np.array([answer.json() for answer in answers], dtype=np.float32)
    assert np.abs(vectors - in_process.embed(questions)).max() < 1e-5
    assert await metric(caller, "embedding_model_calls_total") - calls < 50


async def test_dependency_loses_no_connection_while_requests_are_in_flight(caller: Any, in_process: MiniLM) -> None:
    texts = [[f"Text {n} of a thread.", "Another."] for n in range(300)]
    lost = caller.log.read_text().count("was lost, trying again")
    answers: list[httpx.Response] = []
    for start in range(0, 300, 60):  # with BentoML's defaults, every 100 requests close those that are in flight
        answers += await post_all(f"{caller.url}/embed", [{"texts": each} for each in texts[start : start + 60]])
    assert [answer.status_code for answer in answers] == [200] * 300
    vectors = np.array([answer.json()[0] for answer in answers], dtype=np.float32)
    assert np.abs(vectors - in_process.embed([each[0] for each in texts])).max() < 1e-5
    assert caller.log.read_text().count("was lost, trying again") == lost


async def test_remote_embedding_survives_idle_connections_and_readiness_probes(caller: Any) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        for pause in (0.0, 6.0, 0.0):  # the other side closes an idle connection after 5 s
            await asyncio.sleep(pause)
            assert (await client.get(f"{caller.url}/readyz")).status_code == 200
            answer = await client.post(f"{caller.url}/ask", json={"question": "What is the fee?"})
            assert answer.status_code == 200
