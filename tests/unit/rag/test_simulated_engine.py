"""The engine for load tests behaves like a real one: slots, queue, limits, faults, honest counts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest
from llama_index.core.base.llms.types import ChatMessage

from rag.errors import Busy, ModelError, ModelTimeout, QuestionError
from rag.models.engine import Decoding, Finished, GenerationRequest, Piece
from rag.models.engine_llm import SimulatedLLM
from rag.models.engines.simulated import Faults, Pace, SimulatedEngine
from rag.query.prompting import Prompt, PromptPassage, build_prompt

PROMPT = build_prompt(
    Prompt(
        "How long may an investigation take?",
        (
            PromptPassage("Fees", "", "1", "The monthly fee of a basic account is $4.50. Students pay nothing at all."),
            PromptPassage("Errors", "", "2", "An investigation may take at most 45 days. Write to us at any time."),
        ),
    )
)
FAST = Pace(0.0, 100_000)
REQUEST = GenerationRequest(PROMPT)


async def collected(engine: SimulatedEngine, request: GenerationRequest = REQUEST) -> tuple[str, Finished]:
    events = [event async for event in engine.submit(request)]
    assert isinstance(events[-1], Finished)
    return "".join(each.text for each in events if isinstance(each, Piece)), events[-1]


async def test_it_quotes_the_passages_with_their_markers() -> None:
    text, finished = await collected(SimulatedEngine(FAST))
    assert text.startswith("An investigation may take at most 45 days. [2]")
    assert finished.reason == "stop"
    assert finished.usage.completion_tokens > 10
    assert finished.usage.prompt_tokens == SimulatedEngine(FAST).count_tokens(PROMPT)


async def test_max_tokens_and_stop_end_the_text() -> None:
    engine = SimulatedEngine(FAST)
    text, finished = await collected(engine, replace(REQUEST, decoding=Decoding(max_tokens=5)))
    assert (finished.reason, finished.usage.completion_tokens) == ("length", 5)
    stopped, finished = await collected(engine, replace(REQUEST, decoding=Decoding(stop=(" days",))))
    assert (stopped, finished.reason) == ("An investigation may take at most 45", "stop")
    assert text


async def test_slots_bound_what_runs_and_the_queue_what_waits() -> None:
    engine = SimulatedEngine(Pace(0.05, 1000), slots=2, queue_limit=3)
    generations = [engine.submit(REQUEST) for _ in range(5)]
    with pytest.raises(Busy) as refused:
        engine.submit(REQUEST)
    assert refused.value.retry_after >= 1
    await asyncio.sleep(0.01)
    assert (engine.stats().running, engine.stats().waiting) == (2, 3)
    for generation in generations:
        assert isinstance([event async for event in generation][-1], Finished)
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.completed) == (0, 0, 5)
    engine.submit(REQUEST).cancel()


async def test_cancelling_frees_the_slot_and_ends_the_iteration() -> None:
    engine = SimulatedEngine(Pace(0.0, 20), slots=1)
    generation = engine.submit(REQUEST)
    seen: list[Piece | Finished] = []
    async for event in generation:
        seen.append(event)
        generation.cancel()
    assert isinstance(seen[-1], Finished)
    assert seen[-1].reason == "cancelled"
    assert (engine.stats().running, engine.stats().cancelled) == (0, 1)


async def test_faults_are_repeatable_and_as_frequent_as_configured() -> None:
    async def outcomes() -> list[str]:
        engine = SimulatedEngine(FAST, Faults(crash=0.3, garbage=0.2, seed=7))
        return [f"{(await collected(engine))[1].reason}" for _ in range(60)]

    first = await outcomes()
    assert first == await outcomes()
    assert 8 <= first.count("failed") <= 28


async def test_a_hanging_request_ignores_its_deadline_until_it_is_cancelled() -> None:
    engine = SimulatedEngine(FAST, Faults(hang=1.0), slots=1)
    generation = engine.submit(replace(REQUEST, deadline_seconds=0.01))

    async def drain() -> list[Piece | Finished]:
        return [event async for event in generation]

    task = asyncio.create_task(drain())
    await asyncio.sleep(0.1)
    assert not task.done()
    generation.cancel()
    assert (await task)[-1].reason == "cancelled"  # type: ignore[union-attr]


async def test_deadline_counts_the_waiting_and_closing_ends_everything() -> None:
    engine = SimulatedEngine(Pace(5.0, 100), slots=1)
    first, second = engine.submit(REQUEST), engine.submit(replace(REQUEST, deadline_seconds=0.05))
    assert [event.reason async for event in second] == ["deadline"]  # type: ignore[union-attr]
    await engine.close()
    assert [event.reason async for event in first] == ["cancelled"]  # type: ignore[union-attr]
    with pytest.raises(ModelError):
        engine.submit(REQUEST)


async def test_a_prompt_beyond_the_window_is_refused() -> None:
    with pytest.raises(QuestionError, match="too many for a window"):
        SimulatedEngine(FAST).submit(GenerationRequest("word " * 40_000))


async def test_llama_index_gets_text_counts_and_times_in_every_way_of_asking() -> None:
    llm = SimulatedLLM(engine=SimulatedEngine(FAST))
    responses = [response async for response in await llm.astream_complete(PROMPT)]
    whole = await llm.acomplete(PROMPT)
    chat = await llm.achat([ChatMessage(content=PROMPT)])
    assert "".join(each.delta or "" for each in responses) == whole.text == chat.message.content
    assert isinstance(whole.raw, Finished)
    assert whole.additional_kwargs["completion_tokens"] == whole.raw.usage.completion_tokens > 0
    assert whole.raw.first_token_seconds is not None
    assert llm.metadata.context_window == 32_768
    assert (await llm.acomplete(PROMPT, max_tokens=3)).raw.reason == "length"


def test_llama_index_s_ways_without_an_event_loop_give_the_same() -> None:
    llm = SimulatedLLM(engine=SimulatedEngine(FAST))
    whole = llm.complete(PROMPT).text
    assert "".join(each.delta or "" for each in llm.stream_complete(PROMPT)) == whole
    assert llm.chat([ChatMessage(content=PROMPT)]).message.content == whole
    *_, last = llm.stream_chat([ChatMessage(content=PROMPT)])
    assert last.message.content == whole
    llm.close()


async def test_a_closed_stream_gives_its_slot_back() -> None:
    engine = SimulatedEngine(Pace(0.0, 20), slots=1)
    async with aclosing(await SimulatedLLM(engine=engine).astream_complete(PROMPT)) as stream:  # type: ignore[type-var]
        await anext(stream)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (engine.stats().running, engine.stats().cancelled) == (0, 1)


async def test_failures_are_errors_by_who_must_act() -> None:
    with pytest.raises(ModelError, match="as it was told to"):
        await SimulatedLLM(engine=SimulatedEngine(FAST, Faults(crash=1.0))).acomplete(PROMPT)
    late = SimulatedLLM(engine=SimulatedEngine(Pace(5.0, 1)), deadline_seconds=0.02)
    with pytest.raises(ModelTimeout, match=r"not finished within 0\.02 s"):
        await late.acomplete(PROMPT)
