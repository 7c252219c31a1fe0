"""One request inside an engine: from tokens that a thread makes to events that an event loop reads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

from rag.models.engine import Finished, FinishReason, GenerationRequest, Piece, Usage
from rag.models.engines.sampling import Sampler
from rag.models.engines.streamed_text import StreamedText


class Ticket:
    """See `Generation`. The engine calls `start`, `push` for every token, and `end`; all are safe from any thread.

    Deadlines are timers of the event loop, so that they also end a request whose model hangs.
    """

    def __init__(
        self,
        request: GenerationRequest,
        prompt: tuple[int, ...],
        end_tokens: frozenset[int],
        decode: Callable[[list[int]], str],
        on_end: Callable[[Ticket, FinishReason], None],
    ) -> None:
        self.request, self.prompt = request, prompt
        self.sampler = Sampler(request.decoding)
        self.tokens: list[int] = []
        self.cached_tokens = 0
        self.ended = False
        self.started = False
        self._end_tokens, self._on_end = end_tokens, on_end
        self._text = StreamedText(decode, request.decoding.stop)
        self._lock = threading.RLock()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Piece | Finished] = asyncio.Queue()
        self._submitted = self._progressed = time.perf_counter()
        self._queued_seconds = 0.0
        self._first_token_seconds: float | None = None
        first = min(request.deadline_seconds, request.token_deadline_seconds)
        self._timer = self._loop.call_later(first, self._check_deadlines)

    async def __aiter__(self) -> AsyncIterator[Piece | Finished]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Finished):
                return

    def cancel(self) -> None:
        """See `Generation`."""
        self.end("cancelled")

    def start(self) -> None:
        """It has a slot now."""
        self._progressed = time.perf_counter()
        self._queued_seconds = self._progressed - self._submitted
        self.started = True

    def push(self, token: int) -> None:
        """The next token. Ends the request at a token of the end, a stop string, or the limit of tokens."""
        with self._lock:
            if self.ended:
                return
            self._progressed = time.perf_counter()
            if self._first_token_seconds is None:
                self._first_token_seconds = self._progressed - self._submitted
            self.tokens.append(token)
            at_end = token in self._end_tokens
            self._say("" if at_end else self._text.add(token))
            if at_end or self._text.stopped:
                self.end("stop")
            elif len(self.tokens) >= self.request.decoding.max_tokens:
                self.end("length")

    def end(self, reason: FinishReason, detail: str = "") -> None:
        """The last event. Only the first call counts."""
        with self._lock:
            if self.ended:
                return
            if reason in ("stop", "length"):
                self._say(self._text.flush())
            self.ended = True
            usage = Usage(len(self.prompt), self.cached_tokens, len(self.tokens))
            total = time.perf_counter() - self._submitted
            if not self.started:
                self._queued_seconds = total
            event = Finished(reason, usage, self._queued_seconds, self._first_token_seconds, total, detail)
            self._on_end(self, reason)  # first, so that who reads the end finds it in the accounts
            self._send(event)

    def _say(self, text: str) -> None:
        if text:
            self._send(Piece(text, len(self.tokens)))

    def _send(self, event: Piece | Finished) -> None:
        def deliver() -> None:
            self._events.put_nowait(event)
            if isinstance(event, Finished):
                self._timer.cancel()

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop was closed: nobody is left who reads
            self.ended = True

    def _check_deadlines(self) -> None:
        if self.ended:
            return
        request, now = self.request, time.perf_counter()
        left = self._submitted + request.deadline_seconds - now
        token_left = (self._progressed if self.started else now) + request.token_deadline_seconds - now
        if left <= 0:
            self.end("deadline", f"not finished within {request.deadline_seconds:g} s")
        elif token_left <= 0:
            self.end("deadline", f"no token within {request.token_deadline_seconds:g} s")
        else:
            self._timer = self._loop.call_later(min(left, token_left), self._check_deadlines)
