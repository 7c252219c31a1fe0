"""Engines that are down, slow or talk nonsense: what the question loses, and what is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseAsyncGen

from rag.errors import Busy
from rag.operations import deadline
from rag.query.breaker import Breaker
from rag.query.generating import Attempt, TimeLimits, Writer, notice, write
from rag.query.looping import ends_in_loop
from rag.query.statements import Statement
from rag.testing import ScriptedLLM


class StallingLLM(ScriptedLLM):
    """Says something, then nothing any more; remembers whether it was closed."""

    before: str = ""
    closed: list[str] = []  # noqa: RUF012 - a field of a Pydantic model

    async def astream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseAsyncGen:  # noqa: FBT001
        async def stream() -> AsyncGenerator[CompletionResponse, None]:
            try:
                if self.before:
                    yield CompletionResponse(text=self.before, delta=self.before)
                await asyncio.sleep(3600)
            finally:
                self.closed.append("closed")

        return stream()


def writer(llm: Any, first: float = 5.0, token: float = 5.0, total: float = 5.0, failures: int = 3) -> Writer:
    return Writer(llm, TimeLimits(first, token, total), Breaker(failures, 60.0))


async def attempted(chosen: Writer) -> tuple[Attempt, list[str]]:
    attempt = Attempt(chosen)
    return attempt, [statement.text async for statement in write(attempt, "prompt")]


async def test_statements_of_a_healthy_engine_come_without_trouble() -> None:
    attempt, said = await attempted(writer(ScriptedLLM.of("One holds. [1] Two holds. [2]")))
    assert said == ["One holds. [1]", "Two holds. [2]"]
    assert (attempt.trouble, attempt.statements, attempt.declined) == (None, 2, False)
    assert attempt.first_token_seconds is not None


async def test_an_engine_that_never_begins_is_slow_and_its_stream_is_closed() -> None:
    llm = StallingLLM()
    attempt, said = await attempted(writer(llm, first=0.05))
    assert (attempt.trouble, said) == ("slow", [])
    assert llm.closed == ["closed"]


async def test_an_engine_that_hangs_in_the_middle_keeps_what_it_said() -> None:
    attempt, said = await attempted(writer(StallingLLM(before="One holds. [1] Tw"), token=0.05))
    assert (attempt.trouble, said) == ("slow", ["One holds. [1]"])


async def test_the_deadline_in_total_ends_an_engine_that_always_says_a_little_more() -> None:
    class Endless(ScriptedLLM):
        async def astream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseAsyncGen:  # noqa: FBT001
            async def stream() -> AsyncGenerator[CompletionResponse, None]:
                for number in range(10**6):
                    yield CompletionResponse(text="", delta=f"word{number} ")
                    await asyncio.sleep(0.01)

            return stream()

    attempt, _ = await attempted(writer(Endless(), total=0.1))
    assert attempt.trouble == "slow"


async def test_an_engine_that_crashes_is_failed_and_busy_is_passed_on() -> None:
    attempt, said = await attempted(writer(ScriptedLLM.of(RuntimeError("out of memory"))))
    assert (attempt.trouble, attempt.detail, said) == ("failed", "out of memory", [])
    with pytest.raises(Busy):
        await attempted(writer(ScriptedLLM.of(Busy("full", retry_after=3))))


@pytest.mark.proves("LLM10", "AISVS 7.1.2")
@pytest.mark.parametrize(
    "text", ["the " * 400, "A sentence that says something. [1] " * 50, "\n".join(["| a | b |"] * 200), "ab" * 500]
)
async def test_an_engine_that_goes_in_circles_is_stopped(text: str) -> None:
    attempt, said = await attempted(writer(ScriptedLLM.of(text)))
    assert attempt.trouble == "looping"
    assert len(said) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "| Fee | " + " | ".join(str(n) for n in range(2000, 2020)) + " |\n|" + "---|" * 21 + "\n| Basic | 4.50 |",
        "\n".join(f"| Row {n} | {n * 7} | {n * 3} | {n * 11} |" for n in range(60)),
        "A bank shall act within 10 business days. A bank shall act within 20 business days. " * 2,
        "1 2 3 4 5 6 7 8 9 " * 6,
    ],
)
def test_tables_and_refrains_are_no_loops(text: str) -> None:
    assert not any(ends_in_loop(text[:end]) for end in range(len(text)))


async def test_saying_the_same_twice_is_said_once_and_is_no_trouble() -> None:
    attempt, said = await attempted(writer(ScriptedLLM.of("One holds. [1] One holds. [1] Two holds. [2]")))
    assert (attempt.trouble, said) == (None, ["One holds. [1]", "Two holds. [2]"])


async def test_a_dead_engine_is_not_asked_by_every_question() -> None:
    llm = StallingLLM()
    chosen = writer(llm, first=0.02, failures=2)
    troubles = [(await attempted(chosen))[0].trouble for _ in range(5)]
    assert troubles == ["slow", "slow", "unavailable", "unavailable", "unavailable"]
    assert llm.closed == ["closed"] * 2


async def test_an_engine_that_a_short_deadline_cuts_off_is_slow_for_this_question_and_stays_in_use() -> None:
    chosen = writer(StallingLLM(before="One holds. [1] Tw"), failures=1)
    with deadline.within(0.05):
        attempt, said = await attempted(chosen)
    assert (attempt.trouble, said, chosen.breaker.is_open) == ("slow", ["One holds. [1]"], False)


async def test_an_engine_that_hangs_is_blamed_also_where_the_deadline_is_short() -> None:
    chosen = writer(StallingLLM(), first=0.02, failures=1)
    with deadline.within(3.0):
        attempt, _ = await attempted(chosen)
    assert (attempt.trouble, chosen.breaker.is_open) == ("slow", True)


def test_after_its_rest_a_broken_engine_gets_one_trial_at_a_time_and_a_success_heals_it() -> None:
    now = [0.0]
    breaker = Breaker(2, 10.0, lambda: now[0])
    breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    now[0] = 10.0
    assert breaker.admits()
    assert not breaker.admits()  # the trial is still running, or its asker went away
    now[0] = 20.0
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.admits()


async def test_closing_the_stream_closes_the_engine_s() -> None:
    llm = StallingLLM(before="One holds. [1] Tw")
    stream = write(Attempt(writer(llm)), "prompt")
    assert await anext(stream) == Statement("", "One holds. [1]")
    await stream.aclose()
    assert llm.closed == ["closed"]


def test_notices_say_what_a_person_can_rely_on() -> None:
    assert notice("slow", "quoted") == "The language model took too long, so this answer only quotes the documents."
    assert "What is here was checked." in notice("failed", "broken_off")
    assert notice("empty", "refused") == "The language model gave no usable answer."
