"""Until when a request must be done, wherever its work happens."""

from __future__ import annotations

import asyncio

import pytest

from rag.domain import Principal
from rag.operations import deadline
from rag.query.events import AskRequest
from rag.query.run import Run


def test_without_a_deadline_there_is_as_much_time_as_was_asked_for() -> None:
    assert deadline.remaining(5.0) == 5.0
    deadline.check()


def test_an_inner_limit_can_only_shorten_and_ends_with_its_block() -> None:
    with deadline.within(10.0):
        with deadline.within(100.0):
            assert 9.0 < deadline.remaining(1000.0) <= 10.0
        with deadline.within(1.0):
            assert deadline.remaining(1000.0) <= 1.0
        assert deadline.remaining(1000.0) > 9.0
    assert deadline.remaining(1000.0) == 1000.0


async def test_it_goes_along_into_tasks_and_threads() -> None:
    with deadline.within(1.0):
        task = asyncio.create_task(asyncio.to_thread(deadline.remaining, 1000.0))
    assert await task <= 1.0


async def test_a_stage_is_not_begun_when_nobody_waits_for_it_any_more() -> None:
    begun: list[int] = []
    run = Run(AskRequest("Fees?"), Principal("local"), 1)
    with deadline.within(0.0), pytest.raises(TimeoutError):
        await run.work("check", begun.append, 1)
    assert begun == []
