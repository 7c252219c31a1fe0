"""Waiting for a place before the work of an answer begins: whoever serves requests keeps the door.

What is answered from the cache, or without any search, never asks for a place. The door travels with the context, into
tasks and threads; on the command line and in evaluations there is none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_door: Final[ContextVar[Callable[[], Awaitable[None]] | None]] = ContextVar("door", default=None)


@contextmanager
def kept_by(door: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Inside, `turn` waits for `door`, which raises `Full` for whom it turns away."""
    token = _door.set(door)
    try:
        yield
    finally:
        _door.reset(token)


async def turn() -> float:
    """Return when this request has a place; the seconds that it waited. Raises `Full`."""
    door = _door.get()
    if door is None:
        return 0.0
    began = time.perf_counter()
    await door()
    return time.perf_counter() - began
