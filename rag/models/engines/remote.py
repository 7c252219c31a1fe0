"""What engines have in common whose tokens are made elsewhere: a task for each request, its events, the accounts."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from rag.errors import Busy, ModelError
from rag.models.engine import Finished, FinishReason, GenerationRequest, Piece, Usage

logger = logging.getLogger(__name__)

_OUTCOMES: Final = {"stop": "completed", "length": "completed", "cancelled": "cancelled"}


@dataclass(slots=True, eq=False)
class RemoteGeneration:
    """One request. See `Generation`; iterating raises `Busy` when the server refuses the request."""

    request: GenerationRequest
    prompt_tokens: int
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Piece | Finished | Busy] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None
    submitted: float = field(default_factory=time.perf_counter)
    queued_seconds: float = 0.0
    first_token_seconds: float | None = None
    pieces: int = 0
    usage: Usage | None = None  # as the server counted

    async def __aiter__(self) -> AsyncIterator[Piece | Finished]:
        while True:
            event = await self.events.get()
            while isinstance(event, Piece) and not self.events.empty():  # what came meanwhile goes together
                following = self.events.get_nowait()
                if isinstance(following, Piece):
                    event = Piece(event.text + following.text, following.tokens)
                    continue
                yield event
                event = following
            if isinstance(event, Busy):
                raise event
            yield event
            if isinstance(event, Finished):
                return

    def cancel(self) -> None:
        """See `Generation`. The connection is closed, by which the server learns of it."""
        if self.task is not None and not self.task.done() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    def say(self, text: str, tokens: int | None = None) -> None:
        """The next part of the text, `tokens` in all; without a count, one more: servers send them one by one."""
        self.pieces = self.pieces + 1 if tokens is None else tokens
        if self.first_token_seconds is None:
            self.first_token_seconds = self.elapsed()
        if text:
            self.events.put_nowait(Piece(text, self.pieces))

    def elapsed(self) -> float:
        """Seconds since it was submitted."""
        return time.perf_counter() - self.submitted

    def counted(self) -> Usage:
        """Tokens: the server's figures, or estimates where it sent none."""
        return self.usage or Usage(self.prompt_tokens, 0, self.pieces)


class RemoteEngine(ABC):
    """See `Engine`. A subclass says in `_outcome` how a request is sent, and why it ended. Nothing is sent twice."""

    def __init__(self) -> None:
        self._open: set[RemoteGeneration] = set()
        self._closed = False
        self._ended = {"completed": 0, "cancelled": 0, "failed": 0}
        self._tokens = Usage()

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        here = asyncio.get_running_loop()
        for generation in list(self._open):
            generation.cancel()
        tasks = [each.task for each in self._open if each.loop is here and each.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._disconnect()

    @abstractmethod
    async def _outcome(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
        """Send it, `say` what comes, and tell why it ended, with a sentence for the operator. Raises `Busy`."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close what belongs to the running event loop."""

    def _begin(self, request: GenerationRequest, prompt_tokens: int) -> RemoteGeneration:
        """Start the task of a request. The server is asked afterwards: what it refuses is raised while iterating."""
        if self._closed:
            raise ModelError("the connection to the language model's server was closed")
        generation = RemoteGeneration(request, prompt_tokens, asyncio.get_running_loop())
        self._open.add(generation)
        generation.task = generation.loop.create_task(self._run(generation))
        generation.task.add_done_callback(lambda _: self._forget(generation))
        return generation

    async def _run(self, generation: RemoteGeneration) -> None:
        try:
            reason, detail = await self._outcome(generation)
        except Busy as refused:
            self._ended["failed"] += 1
            self._open.discard(generation)
            generation.events.put_nowait(refused)
            return
        except asyncio.CancelledError:
            reason, detail = "cancelled", ""
        self._finish(generation, reason, detail)

    def _forget(self, generation: RemoteGeneration) -> None:
        """Also ends a request that was cancelled before its task ran at all, or whose task met what nobody foresaw."""
        task = generation.task
        if task is None or generation not in self._open:
            return
        if task.cancelled():
            self._finish(generation, "cancelled", "")
        elif (error := task.exception()) is not None:
            logger.error("a request to the language model's server ended unforeseen", exc_info=error)
            self._finish(generation, "failed", f"asking the language model's server failed: {type(error).__name__}")

    def _finish(self, generation: RemoteGeneration, reason: FinishReason, detail: str) -> None:
        self._open.discard(generation)  # before it is told, so that who hears of the end may submit the next one
        used, total = generation.counted(), self._tokens
        self._tokens = Usage(
            total.prompt_tokens + used.prompt_tokens,
            total.cached_tokens + used.cached_tokens,
            total.completion_tokens + used.completion_tokens,
        )
        self._ended[_OUTCOMES.get(reason, "failed")] += 1
        times = (generation.queued_seconds, generation.first_token_seconds, generation.elapsed())
        generation.events.put_nowait(Finished(reason, used, *times, detail))
