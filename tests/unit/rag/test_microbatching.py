"""What coroutines ask for at the same time is done together; each gets its own, and only its own error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from rag.models.microbatching import Microbatcher


class Work:
    """Shouts words. It waits while `held`; "broken" breaks it."""

    def __init__(self) -> None:
        self.done: list[list[str]] = []
        self.running = asyncio.Semaphore(0)
        self.loop = asyncio.get_running_loop()
        self.held = threading.Event()

    def __call__(self, words: Sequence[str]) -> list[str]:
        self.done.append(list(words))
        self.loop.call_soon_threadsafe(self.running.release)
        assert self.held.wait(30)
        if "broken" in words:
            raise ValueError("broken")
        return [word.upper() for word in words]


async def together(
    work: Work, first: str, *later: str, most: int = 3, threads: int = 1
) -> list[asyncio.Future[str] | BaseException]:
    """`first` is being worked on when the later ones come."""
    batcher: Microbatcher[str, str] = Microbatcher(work, most, threads=threads, size=len)
    tasks = [asyncio.create_task(batcher.run(first))]
    await work.running.acquire()
    tasks += [asyncio.create_task(batcher.run(word)) for word in later]
    await asyncio.sleep(0)
    work.held.set()
    return await asyncio.gather(*tasks, return_exceptions=True)  # type: ignore[return-value]


async def test_what_waits_is_done_together_and_each_gets_its_own() -> None:
    work = Work()
    assert await together(work, "one", "two", "six") == ["ONE", "TWO", "SIX"]
    assert work.done == [["one"], ["two", "six"]]


async def test_the_oldest_takes_those_of_like_size_with_it_and_no_more_than_it_may() -> None:
    work = Work()
    await together(work, "a", "four", "a long one", "five", "also long", "nine", most=3)
    assert work.done == [["a"], ["four", "five", "nine"], ["a long one", "also long"]]


async def test_one_that_breaks_the_work_fails_alone() -> None:
    work = Work()
    _, before, broken, after = await together(work, "first", "before", "broken", "after")
    assert (before, after) == ("BEFORE", "AFTER")
    with pytest.raises(ValueError, match="broken"):
        raise broken  # type: ignore[misc]


async def test_a_second_thread_does_not_wait_for_the_first() -> None:
    work = Work()
    batcher: Microbatcher[str, str] = Microbatcher(work, 3, threads=2)
    first = asyncio.create_task(batcher.run("first"))
    await work.running.acquire()
    second = asyncio.create_task(batcher.run("second"))
    await work.running.acquire()  # both run now
    work.held.set()
    assert [await first, await second] == ["FIRST", "SECOND"]


async def test_nobody_is_forgotten_who_comes_when_the_last_one_is_done() -> None:
    work = Work()
    work.held.set()
    batcher: Microbatcher[str, str] = Microbatcher(work, 3)
    for _ in range(50):
        assert await asyncio.wait_for(batcher.run("next"), 30) == "NEXT"


async def test_who_went_away_is_not_worked_for() -> None:
    work = Work()
    batcher: Microbatcher[str, str] = Microbatcher(work, 3)
    first = asyncio.create_task(batcher.run("first"))
    await work.running.acquire()
    gone, stays = asyncio.create_task(batcher.run("gone")), asyncio.create_task(batcher.run("stays"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    work.held.set()
    assert await stays == "STAYS"
    assert await first == "FIRST"
    assert work.done == [["first"], ["stays"]]


async def test_the_work_belongs_to_the_request_that_came_first() -> None:
    request: ContextVar[str] = ContextVar("request")
    seen = []

    def work(words: Sequence[str]) -> Sequence[str]:
        seen.append(request.get())
        return words

    async def ask(word: str) -> str:
        request.set(word)
        return await batcher.run(word)

    batcher: Microbatcher[str, str] = Microbatcher(work, 3)
    await asyncio.gather(ask("first"), ask("second"))
    assert seen == ["first"]
