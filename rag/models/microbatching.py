"""Merges what waits at the same time into one piece of work, without delaying what comes alone."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
        queue.waiting.append(_Waiting(one, future))
        if len(queue.workers) < self._workers:
            queue.workers.add(loop.create_task(self._drain(queue)))
        return await future

    async def _drain(self, queue: _Queue[T, R]) -> None:
        """Runs until nobody waits. It starts a loop turn after the first one came: those of one turn go together."""
        loop = asyncio.get_running_loop()
        taken: list[_Waiting[T, R]] = []
        try:
            while taken := self._take(queue):
                outcomes = await loop.run_in_executor(self._threads, self._outcomes, taken)
                for outcome, each in zip(outcomes, taken, strict=True):
                    _settle(each.future, outcome)
        except asyncio.CancelledError:
            for each in (*taken, *queue.waiting):
                each.future.cancel()
            raise
        finally:
            # A task refers to its loop, which would else never be forgotten. No callback: one more may come before it.
            queue.workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _take(self, queue: _Queue[T, R]) -> list[_Waiting[T, R]]:
        """The oldest that somebody still waits for, and those most like it; they leave the queue."""
        queue.waiting = [each for each in queue.waiting if not each.future.done()]
        if len(queue.waiting) <= self._most:
            taken, queue.waiting = queue.waiting, []
            return taken
        first = self._size(queue.waiting[0].one)
        near = sorted(range(len(queue.waiting)), key=lambda place: abs(self._size(queue.waiting[place].one) - first))
        chosen = set(near[: self._most])
        taken = [each for place, each in enumerate(queue.waiting) if place in chosen]
        queue.waiting = [each for place, each in enumerate(queue.waiting) if place not in chosen]
        return taken

    def _outcomes(self, together: Sequence[_Waiting[T, R]]) -> Sequence[R | Exception]:
        """What the work gives for each. When it fails for several, each is tried alone and fails alone.

        The work belongs to the trace and the deadline of the one that came first.
        """
        try:
            return list(together[0].context.run(self._work, [each.one for each in together]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            return [error] if len(together) == 1 else [each for one in together for each in self._outcomes([one])]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T, R]):
    """One thing to do, who waits for it, and in which context: that of a request, with its trace and its deadline."""

    one: T
    future: asyncio.Future[R]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class _Queue(Generic[T, R]):
    """What one event loop waits for."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting[T, R]] = []
        self.workers: set[asyncio.Task[None]] = set()


def _settle(future: asyncio.Future[R], outcome: R | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
