"""Merges what waits at the same time into one piece of work, without delaying what comes alone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class Microbatcher(Generic[T, R]):
    """`work` for many coroutines: while its threads are busy, what comes later gathers and is done together.

    Every event loop has its own queue, so that one instance serves several loops in several threads.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        most: int,
        *,
        threads: int = 1,
        size: Callable[[T], int] = lambda _: 0,
    ) -> None:
        """At most `most` things are done together. The oldest goes first, with those that are next to it in `size`."""
        self._work = work
        self._most = most
        self._size = size
        self._workers = threads
        # Not the loop's default pool: slow work there must not hold up a question.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="together")
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[T, R]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    async def run(self, one: T) -> R:
        """What `work` gives for `one`. Cancelling the caller takes it out of the queue."""
        loop = asyncio.get_running_loop()
        with self._lock:
            queue = self._queues.setdefault(loop, _Queue())
        future: asyncio.Future[R] = loop.create_future()
        queue.waiting.append((one, future))
        if len(queue.workers) < self._workers:
            queue.workers.add(loop.create_task(self._drain(queue)))
        return await future

    async def _drain(self, queue: _Queue[T, R]) -> None:
        """Runs until nobody waits. It starts a loop turn after the first one came: those of one turn go together."""
        loop = asyncio.get_running_loop()
        taken: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while taken := self._take(queue):
                outcomes = await loop.run_in_executor(self._threads, self._outcomes, [one for one, _ in taken])
                for outcome, (_, future) in zip(outcomes, taken, strict=True):
                    _settle(future, outcome)
        except asyncio.CancelledError:
            for _, future in (*taken, *queue.waiting):
                future.cancel()
            raise
        finally:
            # A task refers to its loop, which would else never be forgotten. No callback: one more may come before it.
            queue.workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _take(self, queue: _Queue[T, R]) -> list[tuple[T, asyncio.Future[R]]]:
        """The oldest that somebody still waits for, and those most like it; they leave the queue."""
        queue.waiting = [each for each in queue.waiting if not each[1].done()]
        if len(queue.waiting) <= self._most:
            taken, queue.waiting = queue.waiting, []
            return taken
        first = self._size(queue.waiting[0][0])
        near = sorted(range(len(queue.waiting)), key=lambda place: abs(self._size(queue.waiting[place][0]) - first))
        chosen = set(near[: self._most])
        taken = [each for place, each in enumerate(queue.waiting) if place in chosen]
        queue.waiting = [each for place, each in enumerate(queue.waiting) if place not in chosen]
        return taken

    def _outcomes(self, together: Sequence[T]) -> Sequence[R | Exception]:
        """What the work gives for each. When it fails for several, each is tried alone and fails alone."""
        try:
            return list(self._work(together))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            return [error] if len(together) == 1 else [each for one in together for each in self._outcomes([one])]


class _Queue(Generic[T, R]):
    """What one event loop waits for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.workers: set[asyncio.Task[None]] = set()


def _settle(future: asyncio.Future[R], outcome: R | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
