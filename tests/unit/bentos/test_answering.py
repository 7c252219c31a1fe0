"""Deadlines, disconnects and heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from bentos.answering import first_of, for_caller, paced
from bentos.streaming import answer_frames
from rag.domain import Answer
from rag.query.events import Completed, Event, SentenceReleased, StageFinished

CHECKED = StageFinished("check", 0.0)
ANSWER = Completed(Answer(id="1", question="q", text="a", status="answered"))


class Work:
    """A pipeline that records how it ended. It waits before the events that are None."""

    def __init__(self, *events: Event | Exception | None) -> None:
        self.events = events
        self.ended = ""
        self.waiting = asyncio.Event()

    async def stream(self) -> AsyncGenerator[Event, None]:
        try:
            for event in self.events:
                if event is None:
                    self.waiting.set()
                    await asyncio.sleep(3600)
                elif isinstance(event, Exception):
                    raise event
                else:
                    yield event
            self.ended = "finished"
        except (asyncio.CancelledError, GeneratorExit) as stopped:
            self.ended = type(stopped).__name__
            raise


async def _read(events: AsyncGenerator[Event | None, None], seen: list[Event | None]) -> None:
    async for event in events:
        seen.append(event)  # noqa: PERF401 - what came before an error counts


def _request(gone: asyncio.Event) -> Request:
    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": []}, receive)


async def test_events_pass_in_order_and_the_stream_ends() -> None:
    work = Work(CHECKED, ANSWER)
    assert [event async for event in paced(work.stream(), 10, 10)] == [CHECKED, ANSWER]
    assert work.ended == "finished"


async def test_silence_is_filled_with_heartbeats_until_the_deadline_ends_the_work() -> None:
    work = Work(CHECKED, None)
    seen: list[Event | None] = []
    with pytest.raises(TimeoutError):
        await _read(paced(work.stream(), 0.01, 0.2), seen)
    assert seen[0] is CHECKED
    assert seen.count(None) >= 3
    assert work.ended == "CancelledError"


async def test_closing_the_stream_stops_the_work_before_it_returns() -> None:
    work = Work(CHECKED, None)
    events = paced(work.stream(), 10, 10)
    assert await first_of(events) is CHECKED
    await events.aclose()
    assert work.ended == "GeneratorExit"


async def test_cancelling_by_scope_in_the_middle_of_the_work_stops_it() -> None:
    work = Work(CHECKED, None)

    async def read() -> None:
        async for _ in paced(work.stream(), 10, 10):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await work.waiting.wait()
        group.cancel_scope.cancel()
    assert work.ended == "CancelledError"


async def test_error_of_the_work_reaches_the_reader() -> None:
    with pytest.raises(KeyError):
        await first_of(paced(Work(KeyError("x")).stream(), 10, 10))


async def test_caller_that_stays_gets_the_result() -> None:
    async def work() -> int:
        return 42

    assert await for_caller(_request(asyncio.Event()), work(), 10) == 42


async def test_caller_that_goes_away_cancels_the_work() -> None:
    gone, cancelled, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.create_task(for_caller(_request(gone), work(), 3600))
    await begun.wait()
    gone.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert cancelled.is_set()


async def test_deadline_cancels_the_work() -> None:
    with pytest.raises(TimeoutError):
        await for_caller(_request(asyncio.Event()), asyncio.sleep(3600), 0.01)


async def test_stream_ends_with_answer_and_done() -> None:
    events = paced(Work(CHECKED, SentenceReleased(0, "line\nbreak"), ANSWER).stream(), 10, 10)
    written = [text async for text in answer_frames(await first_of(events), events)]
    frames = "".join(written).removesuffix("\n\n").split("\n\n")
    assert [frame.split("\n")[0] for frame in frames] == [
        "event: status", "event: sentence", "event: answer", "event: done",
    ]  # fmt: skip
    assert all(frame.count("\n") == 1 for frame in frames)
    assert len(written) == 3  # the answer and the end of the stream go out together


async def test_error_in_the_middle_of_a_stream_is_its_last_event() -> None:
    events = paced(Work(CHECKED, RuntimeError("secret")).stream(), 10, 10)
    frames = [frame async for frame in answer_frames(await first_of(events), events)]
    assert [frame.split("\n")[0] for frame in frames] == ["event: status", "event: error"]
    assert '"status":500' in frames[-1]
    assert "secret" not in frames[-1]


async def test_deadline_in_the_middle_of_a_stream_is_a_504_problem() -> None:
    events = paced(Work(CHECKED, None).stream(), 10, 0.05)
    frames = [frame async for frame in answer_frames(await first_of(events), events)]
    assert frames[-1].startswith("event: error\n")
    assert '"status":504' in frames[-1]


async def test_heartbeat_is_a_comment_line() -> None:
    events = paced(Work(CHECKED, None).stream(), 0.01, 0.05)
    frames = [frame async for frame in answer_frames(await first_of(events), events)]
    assert frames[1] == ": keep-alive\n\n"
