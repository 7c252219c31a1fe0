"""Merges questions that wait at the same time into one forward pass, without delaying a question that comes alone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_Waiting = tuple[str, "asyncio.Future[NDArray[np.float32]]"]


class Microbatcher:
    """`embed` for many coroutines: while one forward pass runs in its thread, later questions gather for the next.

    Every event loop has its own queue, so that one instance serves several loops in several threads.
    """

    def __init__(self, embed: Embed, max_texts: int) -> None:
        self._embed = embed
        self._max_texts = max_texts
        # Not the loop's default pool: slow work there must not hold up a question.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embed-questions")
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    async def embed(self, text: str) -> NDArray[np.float32]:
        """The vector float32[384] of one text. Cancelling the caller takes its text out of the queue."""
        loop = asyncio.get_running_loop()
        with self._lock:
            queue = self._queues.setdefault(loop, _Queue())
        future: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        queue.waiting.append((text, future))
        if queue.worker is None:
            queue.worker = loop.create_task(self._drain(queue))
        return await future

    async def _drain(self, queue: _Queue) -> None:
        """Runs until nobody waits. It starts a loop turn after the first question: those of one turn go together."""
        loop = asyncio.get_running_loop()
        taken: list[_Waiting] = []
        try:
            while queue.waiting:
                taken, queue.waiting = queue.waiting[: self._max_texts], queue.waiting[self._max_texts :]
                taken = [(text, future) for text, future in taken if not future.done()]
                if taken:
                    texts = [text for text, _ in taken]
                    try:
                        vectors = await loop.run_in_executor(self._thread, self._embed, texts)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
                        _settle(taken, error)
                    else:
                        _settle(taken, vectors)
        except asyncio.CancelledError:
            for _, future in (*taken, *queue.waiting):
                future.cancel()
            raise
        finally:
            queue.worker = None  # a task refers to its loop, which would then never be forgotten


class _Queue:
    """What one event loop waits for."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.worker: asyncio.Task[None] | None = None


def _settle(taken: Sequence[_Waiting], result: NDArray[np.float32] | Exception) -> None:
    for row, (_, future) in enumerate(taken):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result[row])
