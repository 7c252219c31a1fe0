"""Ending in order: nobody new comes in, whoever is in finishes, and then the server ends.

BentoML sends SIGTERM to all its services at the same time. An answer that an Assistant still finishes would then find
no Generator. So the Generator goes on until every Assistant has hung up, which each does when its last answer is out.
An Assistant goes on, refusing new requests, for as long as a balancer needs to see it and its answers need to end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Draining:
    """Puts the server's end off for `notice_seconds`, and while somebody watches; at most for `patience_seconds`."""

    def __init__(self, patience_seconds: float, notice_seconds: float = 0.0) -> None:
        self._patience = patience_seconds
        self._notice = notice_seconds
        self._watchers: dict[object, asyncio.Task[Any] | None] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._ending: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether the end was asked for."""
        return self._ending is not None

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
        """Somebody depends on us for as long as this is open; after the patience, its task is cancelled."""
        key = object()
        self._watchers[key] = asyncio.current_task()
        self._nobody.clear()
        try:
            yield
        finally:
            del self._watchers[key]
            if not self._watchers:
                self._nobody.set()

    def _begin(self, number: int, then: Callable[[int, FrameType | None], Any]) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(number, then))

    async def _end(self, number: int, then: Callable[[int, FrameType | None], Any]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.sleep(self._notice)
                await self._nobody.wait()
        except TimeoutError:
            for task in self._watchers.values():
                if task is not None:
                    task.cancel()
        if callable(then):
            then(number, None)
