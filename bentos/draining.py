"""Ending after those who depend on us.

BentoML sends SIGTERM to all its services at the same time. An answer that an Assistant still finishes would then find
no Generator. So the Generator goes on until every Assistant has hung up, which each does when its last answer is out.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Draining:
    """Puts the server's end off while somebody watches, and at most for `patience_seconds`."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self._watchers = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._ending: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take the place of the server's own handlers, on the main thread of a running event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            servers_own: Any = signal.getsignal(number)

            def put_off(each: int, _: FrameType | None, then: Any = servers_own) -> None:
                loop.call_soon_threadsafe(self._begin, each, then)

            signal.signal(number, put_off)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Somebody depends on us for as long as this is open."""
        self._watchers += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._nobody.set()

    def _begin(self, number: int, then: Callable[[int, FrameType | None], Any]) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(number, then))

    async def _end(self, number: int, then: Callable[[int, FrameType | None], Any]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._nobody.wait()
        except TimeoutError:
            pass
        if callable(then):
            then(number, None)
