"""An engine behind somebody else's server with OpenAI's `/v1/chat/completions`: vLLM, TGI, llama.cpp, Ollama."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx2
from openai import APIStatusError, APITimeoutError, AsyncOpenAI, OpenAIError, omit

from rag.errors import Busy, ModelError, QuestionError
from rag.models.engine import EngineStats, Finished, FinishReason, GenerationRequest, Piece, Usage
from rag.models.engines.streamed_text import StreamedText

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN: Final = 4  # of English, in the tokenisers of today's models; the server's own is not known here
_TEMPLATE_TOKENS: Final = 8  # that a chat template puts around one message
_LONGEST_PAUSE: Final = 60  # seconds; what a server asks for beyond it is not passed on
_BUSY: Final = (429, 503)
_NOT_THE_DIALECT: Final = (ValueError, TypeError, AttributeError, LookupError)  # what the client raises for garbage


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is and what it calls the model. `api_key` may be empty, and is never shown."""

    base_url: str
    model: str
    api_key: str = field(default="", repr=False)
    context_window: int = 8192
    connect_seconds: float = 2.0
    queue_limit: int = 64


@dataclass(slots=True, eq=False)
class _Remote:
    """One request. See `Generation`; iterating raises `Busy` when the server refuses the request."""

    request: GenerationRequest
    prompt_tokens: int
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Piece | Finished | Busy] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None
    submitted: float = field(default_factory=time.perf_counter)
    first_token_seconds: float | None = None
    pieces: int = 0
    usage: Usage | None = None  # as the server counted

    async def __aiter__(self) -> AsyncIterator[Piece | Finished]:
        while True:
            event = await self.events.get()
            if isinstance(event, Busy):
                raise event
            yield event
            if isinstance(event, Finished):
                return

    def cancel(self) -> None:
        """See `Generation`. The connection is closed, by which the server learns of it."""
        if self.task is not None and not self.task.done() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    def say(self, text: str) -> None:
        """The next part of the text. Servers send one token at a time, or nearly."""
        self.pieces += 1
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


class OpenAICompatibleEngine:
    """See `Engine`. At most `queue_limit` requests are in flight. Which of them run is the server's affair, so all
    count as running, and nothing is known of the time they wait there. Nothing is ever sent twice.
    """

    name = "openai_compatible"

    def __init__(self, server: Server) -> None:
        self._server = server
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()
        self._open: set[_Remote] = set()
        self._closed = False
        self._ended = {"completed": 0, "cancelled": 0, "failed": 0}
        self._tokens = Usage()

    @property
    def model_name(self) -> str:
        """See `Engine`."""
        return self._server.model

    @property
    def context_window(self) -> int:
        """See `Engine`."""
        return self._server.context_window

    def count_tokens(self, prompt: str) -> int:
        """An estimate: the tokeniser is on the server."""
        return math.ceil(len(prompt.encode()) / _BYTES_PER_TOKEN) + _TEMPLATE_TOKENS

    def submit(self, request: GenerationRequest) -> _Remote:
        """See `Engine`. The server is asked afterwards: what it refuses is raised while iterating."""
        if self._closed:
            raise ModelError("the connection to the language model's server was closed")
        tokens = self.count_tokens(request.prompt)
        if tokens + request.decoding.max_tokens > self.context_window:
            raise QuestionError(f"the prompt has about {tokens} tokens, too many for a window of {self.context_window}")
        if len(self._open) >= self._server.queue_limit:
            raise Busy("too many questions wait for the language model; try again in a moment")
        generation = _Remote(request, tokens, asyncio.get_running_loop())
        self._open.add(generation)
        generation.task = generation.loop.create_task(self._run(generation))
        generation.task.add_done_callback(lambda _: self._forget(generation))
        return generation

    def stats(self) -> EngineStats:
        """See `Engine`."""
        return EngineStats(
            running=len(self._open), waiting=0, slots=self._server.queue_limit, queue_limit=0, **self._ended,
            prompt_tokens=self._tokens.prompt_tokens, cached_tokens=self._tokens.cached_tokens,
            completion_tokens=self._tokens.completion_tokens,
        )  # fmt: skip

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        here = asyncio.get_running_loop()
        for generation in list(self._open):
            generation.cancel()
        tasks = [each.task for each in self._open if each.loop is here and each.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        if (client := self._clients.pop(here, None)) is not None:
            await client.close()

    def _client(self) -> AsyncOpenAI:
        """The client of this event loop: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx2.Timeout(None, connect=self._server.connect_seconds)  # the request's deadlines do the rest
            self._clients[loop] = AsyncOpenAI(
                base_url=self._server.base_url,
                api_key=self._server.api_key or "none",  # the client insists on one
                max_retries=0,  # the pipeline falls back; a second try would only come later
                http_client=httpx2.AsyncClient(timeout=timeout, trust_env=False, limits=httpx2.Limits()),
            )
        return self._clients[loop]

    async def _run(self, generation: _Remote) -> None:
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

    def _forget(self, generation: _Remote) -> None:
        """Also ends a request that was cancelled before its task ran at all, or whose task met what nobody foresaw."""
        task = generation.task
        if task is None or generation not in self._open:
            return
        if task.cancelled():
            self._finish(generation, "cancelled", "")
        elif (error := task.exception()) is not None:
            logger.error("a request to the language model's server ended unforeseen", exc_info=error)
            self._finish(generation, "failed", f"asking the language model's server failed: {type(error).__name__}")

    def _finish(self, generation: _Remote, reason: FinishReason, detail: str) -> None:
        self._open.discard(generation)  # before it is told, so that who hears of the end may submit the next one
        used, total = generation.counted(), self._tokens
        self._tokens = Usage(
            total.prompt_tokens + used.prompt_tokens,
            total.cached_tokens + used.cached_tokens,
            total.completion_tokens + used.completion_tokens,
        )
        self._ended[{"stop": "completed", "length": "completed", "cancelled": "cancelled"}.get(reason, "failed")] += 1
        times = (0.0, generation.first_token_seconds, generation.elapsed())
        generation.events.put_nowait(Finished(reason, used, *times, detail))

    async def _outcome(self, generation: _Remote) -> tuple[FinishReason, str]:
        """Why it ended, and for the operator a sentence. What the server wrote is left out: it may repeat the key."""
        where = f"the language model's server at {self._server.base_url}"
        try:
            async with asyncio.timeout(generation.request.deadline_seconds):
                return await self._stream(generation)
        except APITimeoutError:
            return (
                "failed",
                f"{where} did not accept a connection in {self._server.connect_seconds:g} s; is it running?",
            )
        except TimeoutError:
            return "deadline", f"{where} was too slow: no token in time, or not finished in time"
        except APIStatusError as error:
            if error.status_code in _BUSY:
                raise Busy("the language model is busy; try again in a moment", _pause(error.response)) from None
            what = "the key LLM_API_KEY" if error.status_code in (401, 403) else "base_url, model and context_window"
            return "failed", f"{where} answered with status {error.status_code}; check {what}"
        except (OpenAIError, httpx2.HTTPError):
            return "failed", f"{where} cannot be reached or broke off; check that it runs and that base_url is right"
        except _NOT_THE_DIALECT:
            return "failed", f"{where} sent something else than OpenAI's dialect; check base_url"

    async def _stream(self, generation: _Remote) -> tuple[FinishReason, str]:
        request, why = generation.request, None
        received: list[str] = []
        text = StreamedText(lambda numbers: "".join(received[each] for each in numbers), request.decoding.stop)
        async with asyncio.timeout(request.token_deadline_seconds) as patience:
            async with await self._client().chat.completions.create(**self._body(request)) as chunks:
                async for chunk in chunks:
                    for choice in chunk.choices[:1]:
                        if choice.delta.content:
                            received.append(choice.delta.content)
                            generation.say(text.add(len(received) - 1))
                            patience.reschedule(generation.loop.time() + request.token_deadline_seconds)
                        why = choice.finish_reason or why
                    if chunk.usage is not None:
                        generation.usage = _usage(chunk.usage)
                    if text.stopped:  # not every server keeps the stop string back, and some do not stop
                        return "stop", ""
        if why is None:
            return "failed", f"the language model's server at {self._server.base_url} broke off; look at its log"
        if rest := text.flush():
            generation.events.put_nowait(Piece(rest, generation.pieces))
        return ("length" if why == "length" else "stop"), ""

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        decoding = request.decoding
        return {
            "model": self._server.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": decoding.max_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "stop": list(decoding.stop) or omit,
            "seed": omit if decoding.seed is None else decoding.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _usage(counted: Any) -> Usage:
    details = getattr(counted, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    return Usage(int(counted.prompt_tokens), int(cached), int(counted.completion_tokens))


def _pause(response: httpx2.Response) -> int:
    """Seconds of `Retry-After`, where it is a number."""
    asked = response.headers.get("retry-after", "")
    return min(_LONGEST_PAUSE, max(1, int(asked))) if asked.isascii() and asked.isdigit() else 1
