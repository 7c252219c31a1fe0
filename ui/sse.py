"""Server-sent events, read line by line. See the HTML Standard, section 9.2.6 (interpreting an event stream)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

MAX_EVENT_CHARACTERS = 4_000_000


class EventTooLarge(ValueError):
    """One event is larger than anything that the API sends."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its type, and its data lines joined by newlines."""

    name: str
    data: str


async def server_events(lines: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    """Yield the events in a stream of lines. Comments (heartbeats) and unknown fields are skipped.

    An event that the stream's end cuts short is dropped, as the standard says. Raises EventTooLarge.
    """
    name, size = "", 0
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                yield ServerEvent(name or "message", "\n".join(data))
            name, data, size = "", [], 0
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            size += len(value)
            if size > MAX_EVENT_CHARACTERS:
                raise EventTooLarge
            data.append(value)
