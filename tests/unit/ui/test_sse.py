"""The event stream parser, against the rules of the HTML Standard."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ui.sse import MAX_EVENT_CHARACTERS, EventTooLarge, ServerEvent, server_events


async def parsed(text: str) -> list[ServerEvent]:
    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    return [event async for event in server_events(lines())]


async def test_events_have_a_name_and_joined_data() -> None:
    assert await parsed("event: a\ndata: 1\ndata: 2\n\ndata:x\n\n") == [
        ServerEvent("a", "1\n2"),
        ServerEvent("message", "x"),
    ]


async def test_comments_unknown_fields_and_empty_events_are_skipped() -> None:
    assert await parsed(": keep-alive\n\nid: 7\nretry: 5\nevent: a\n\nevent: b\ndata: 1\n\n") == [ServerEvent("b", "1")]


async def test_only_one_leading_space_belongs_to_the_format() -> None:
    assert await parsed("data:  x: y\n\n") == [ServerEvent("message", " x: y")]


async def test_an_event_that_the_end_cuts_short_is_dropped() -> None:
    assert await parsed("data: 1\n\nevent: answer\ndata: half") == [ServerEvent("message", "1")]


async def test_an_event_larger_than_anything_sensible_is_refused() -> None:
    line = "x" * (MAX_EVENT_CHARACTERS // 2 + 1)
    with pytest.raises(EventTooLarge):
        await parsed(f"data: {line}\ndata: {line}\n\n")
