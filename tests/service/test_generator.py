"""The Generator as a running server, and `RemoteGenerator`, as the Assistant uses it, against it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos.remote_generation import RemoteGenerator
from rag.errors import Full, ModelError
from rag.models.engine import Decoding, Finished, GenerationRequest, Piece
from rag.models.engines.simulated import answer_to
from rag.query.prompting import Prompt, PromptPassage, build_prompt
from rag.settings import Settings, load_settings

STREAMS = 300
COMMAND = ("-m", "bentoml", "serve", "bentos.generator:Generator", "--port", "{port}")
SIMULATED = {"BANKSIGHT__GENERATION__ENGINE": "simulated", "BANKSIGHT__GENERATION__SERVING": "service"}


def simulated(**options: object) -> dict[str, str]:
    """An environment that chooses the simulated engine with these options."""
    return SIMULATED | {f"BANKSIGHT__GENERATION__SIMULATED__{name.upper()}": str(it) for name, it in options.items()}


def prompt(number: int, words: int = 0) -> str:
    """Asks for a fee; the answer has a sentence of so many words more."""
    text = f"The monthly fee of account {number} is ${number}.50 for everybody who has it{' and more' * words}."
    passage = PromptPassage("Fees", f"Account {number}", "1", text)
    return build_prompt(Prompt(f"What is the fee of account {number}?", (passage,)))


@pytest.fixture(scope="module")
def generator_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings("test", environment={}, overrides={"data_dir": str(tmp_path_factory.mktemp("generator"))})


@pytest.fixture(scope="module")
def generator(start_server: Callable[..., Any], generator_settings: Settings) -> Any:
    """A Generator with 100 slots and place for 250 more to wait."""
    environment = simulated(slots=100, queue_limit=250, tokens_per_second=100, first_token_seconds=0.1)
    server = start_server(generator_settings, *COMMAND, **environment)
    server.wait_until_ready()
    return server


@pytest.fixture
async def remote(generator: Any) -> AsyncIterator[RemoteGenerator]:
    engine = await asyncio.to_thread(RemoteGenerator, generator.url)
    yield engine
    await engine.close()


async def collected(engine: RemoteGenerator, request: GenerationRequest) -> tuple[str, Finished]:
    events = [event async for event in engine.submit(request)]
    assert isinstance(events[-1], Finished)
    return "".join(each.text for each in events if isinstance(each, Piece)), events[-1]


async def stats(server: Any) -> dict[str, int]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        found: dict[str, int] = (await client.get(f"{server.url}/stats")).json()
        return found


async def until_open(server: Any, number: int) -> None:
    """Return when so many requests are in the engine."""
    for _ in range(100):
        found = await stats(server)
        if found["running"] + found["waiting"] == number:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {number} requests: {found}")


async def until_idle(server: Any) -> dict[str, int]:
    await until_open(server, 0)
    return await stats(server)


async def test_hundreds_of_streams_at_the_same_time_all_come_with_their_own_text(remote: RemoteGenerator) -> None:
    requests = [GenerationRequest(prompt(n), Decoding(max_tokens=60), 120, 120) for n in range(STREAMS)]
    ended = await asyncio.gather(*(collected(remote, each) for each in requests))
    assert {(finished.reason, finished.detail) for _, finished in ended} == {("stop", "")}
    assert [text for text, _ in ended] == [answer_to(each.prompt) for each in requests]
    assert len({text for text, _ in ended}) == STREAMS
    assert all(finished.usage.completion_tokens > 0 for _, finished in ended)


async def test_it_says_what_it_is_and_what_it_does(remote: RemoteGenerator, generator: Any) -> None:
    assert (remote.name, remote.model_name, remote.context_window) == ("simulated", "simulated", 32_768)
    before = await stats(generator)
    await collected(remote, GenerationRequest(prompt(1)))
    for _ in range(100):
        if remote.stats().completed > before["completed"]:
            break
        await asyncio.sleep(0.05)
    assert (remote.stats().slots, remote.stats().queue_limit) == (100, 250)
    assert remote.stats().completed == before["completed"] + 1


async def test_hanging_up_frees_the_slot(remote: RemoteGenerator, generator: Any) -> None:
    before = await until_idle(generator)
    long = [GenerationRequest(prompt(n, words=2000), Decoding(max_tokens=4000)) for n in range(20)]
    generations = [remote.submit(each) for each in long]
    for each in generations:
        await anext(aiter(each))
    assert (await stats(generator))["running"] > 0
    for each in generations:
        each.cancel()
    reasons = [event.reason for each in generations async for event in each if isinstance(event, Finished)]
    assert reasons == ["cancelled"] * 20
    after = await until_idle(generator)
    assert after["cancelled"] - before["cancelled"] == 20


async def test_deadlines_are_passed_on(remote: RemoteGenerator, generator: Any) -> None:
    _, finished = await collected(remote, GenerationRequest(prompt(1), deadline_seconds=0.05))
    assert (finished.reason, finished.detail) == ("deadline", "not finished within 0.05 s")
    assert (await until_idle(generator))["running"] == 0


async def test_a_prompt_that_does_not_fit_is_a_failure_with_a_sentence(remote: RemoteGenerator) -> None:
    _, finished = await collected(remote, GenerationRequest("word " * 40_000))
    assert finished.reason == "failed"
    assert "too many for a window" in finished.detail


async def test_bulk_gives_every_prompt_its_own_text(generator: Any) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        bodies = [{"prompts": [prompt(n), prompt(n + 100)]} for n in range(20)]
        answers = await asyncio.gather(*(client.post(f"{generator.url}/complete", json=body) for body in bodies))
    assert [each.status_code for each in answers] == [200] * 20
    assert [each.json() for each in answers] == [[answer_to(one) for one in body["prompts"]] for body in bodies]


async def test_a_full_queue_makes_the_caller_come_back(
    start_server: Callable[..., Any], generator_settings: Settings
) -> None:
    server = start_server(generator_settings, *COMMAND, **simulated(slots=1, queue_limit=1, tokens_per_second=1))
    server.wait_until_ready()
    engine = await asyncio.to_thread(RemoteGenerator, server.url)
    taken = [engine.submit(GenerationRequest(prompt(n))) for n in range(2)]
    await until_open(server, 2)
    with pytest.raises(Full) as refused:
        await collected(engine, GenerationRequest(prompt(3)))
    assert refused.value.retry_after > 1
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.post(f"{server.url}/generate", json={"prompt": prompt(3)})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, str(refused.value.retry_after))
    for each in taken:
        each.cancel()
    await engine.close()


async def test_a_generator_that_cannot_start_says_why(
    start_server: Callable[..., Any], generator_settings: Settings, tmp_path: Path
) -> None:
    environment = {"BANKSIGHT__GENERATION__ENGINE": "mistral", "BANKSIGHT__GENERATION__SERVING": "service"}
    server = start_server(generator_settings, *COMMAND, CACHE_DIR=str(tmp_path), HF_HOME=str(tmp_path), **environment)
    for _ in range(300):
        if "cannot start" in server.log.read_text():
            break
        await asyncio.sleep(0.2)
    with pytest.raises(ModelError, match="banksight models pull"):
        await asyncio.to_thread(RemoteGenerator, server.url)
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        assert (await client.get(f"{server.url}/readyz")).status_code == 503


async def test_streams_end_well_after_sigterm_while_somebody_watches_and_then_it_ends(
    start_server: Callable[..., Any], generator_settings: Settings
) -> None:
    server = start_server(generator_settings, *COMMAND, **simulated(tokens_per_second=20, first_token_seconds=0.1))
    server.wait_until_ready()
    engine = await asyncio.to_thread(RemoteGenerator, server.url)
    stream = aiter(engine.submit(GenerationRequest(prompt(1))))
    begun = await anext(stream)
    assert isinstance(begun, Piece)
    os.kill(server.process.pid, signal.SIGTERM)
    await asyncio.sleep(0.3)
    after, late = await collected(engine, GenerationRequest(prompt(2)))  # an answer that was on its way to its prompt
    rest = [event async for event in stream]
    assert begun.text + "".join(e.text for e in rest if isinstance(e, Piece)) == answer_to(prompt(1))
    assert (after, late.reason) == (answer_to(prompt(2)), "stop")
    await engine.close()
    assert await asyncio.to_thread(server.stop) == 0
