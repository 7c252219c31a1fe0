"""An engine behind somebody else's server with OpenAI's `/v1/chat/completions`: vLLM, TGI, llama.cpp, Ollama."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import httpx2
from openai import APIStatusError, APITimeoutError, AsyncOpenAI, OpenAIError, omit

from rag.errors import Busy, Full, QuestionError
from rag.models.engine import EngineStats, FinishReason, GenerationRequest, Piece, Usage
from rag.models.engines.remote import RemoteEngine, RemoteGeneration
from rag.models.engines.streamed_text import StreamedText

_BYTES_PER_TOKEN: Final = 4  # of English, in the tokenisers of today's models; the server's own is not known here
_TEMPLATE_TOKENS: Final = 8  # that a chat template puts around one message
_LONGEST_PAUSE: Final = 60  # seconds; what a server asks for beyond it is not passed on
_END: Final = "[DONE]"
_READ_UP_SECONDS: Final = 0.5
_FULL: Final = 429
_BUSY: Final = (_FULL, 503)
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


class OpenAICompatibleEngine(RemoteEngine):
    """See `Engine`. At most `queue_limit` requests are in flight. Which of them run is the server's affair, so all
    count as running, and nothing is known of the time they wait there. Nothing is ever sent twice.
    """

    name = "openai_compatible"

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

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

    def submit(self, request: GenerationRequest) -> RemoteGeneration:
        """See `Engine`. The server is asked afterwards: what it refuses is raised while iterating."""
        tokens = self.count_tokens(request.prompt)
        if tokens + request.decoding.max_tokens > self.context_window:
            raise QuestionError(f"the prompt has about {tokens} tokens, too many for a window of {self.context_window}")
        if len(self._open) >= self._server.queue_limit:
            raise Full("too many questions wait for the language model; try again in a moment")
        return self._begin(request, tokens)

    def stats(self) -> EngineStats:
        """See `Engine`."""
        return EngineStats(
            running=len(self._open), waiting=0, slots=self._server.queue_limit, queue_limit=0, **self._ended,
            prompt_tokens=self._tokens.prompt_tokens, cached_tokens=self._tokens.cached_tokens,
            completion_tokens=self._tokens.completion_tokens,
        )  # fmt: skip

    async def _disconnect(self) -> None:
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
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

    async def _outcome(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
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
                kind = Full if error.status_code == _FULL else Busy
                raise kind("the language model is busy; try again in a moment", _pause(error.response)) from None
            what = "the key LLM_API_KEY" if error.status_code in (401, 403) else "base_url, model and context_window"
            return "failed", f"{where} answered with status {error.status_code}; check {what}"
        except (OpenAIError, httpx2.HTTPError):
            return "failed", f"{where} cannot be reached or broke off; check that it runs and that base_url is right"
        except _NOT_THE_DIALECT:
            return "failed", f"{where} sent something else than OpenAI's dialect; check base_url"

    async def _stream(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
        request, why = generation.request, None
        received: list[str] = []
        text = StreamedText(lambda numbers: "".join(received[each] for each in numbers), request.decoding.stop)
        send = self._client().chat.completions.with_streaming_response.create
        async with asyncio.timeout(request.token_deadline_seconds) as patience, send(**self._body(request)) as response:
            lines = response.iter_lines()
            async for line in lines:
                name, _, data = line.partition(":")
                if name != "data":
                    continue
                if data.strip() == _END:
                    await _read_up(lines)
                    break
                chunk = json.loads(data)  # the client's own objects would cost ten times as much for each token
                if "error" in chunk:
                    return "failed", f"the language model's server at {self._server.base_url} failed; look at its log"
                for choice in (chunk.get("choices") or [])[:1]:
                    if content := (choice.get("delta") or {}).get("content"):
                        received.append(content)
                        generation.say(text.add(len(received) - 1))
                        patience.reschedule(generation.loop.time() + request.token_deadline_seconds)
                    why = choice.get("finish_reason") or why
                if counted := chunk.get("usage"):
                    generation.usage = _usage(counted)
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


async def _read_up(lines: AsyncIterator[str]) -> None:
    """Read what is left after the last event, so that the connection can be used again."""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_READ_UP_SECONDS):
            async for _ in lines:
                pass


def _usage(counted: dict[str, Any]) -> Usage:
    cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(int(counted["prompt_tokens"]), int(cached), int(counted["completion_tokens"]))


def _pause(response: httpx2.Response) -> int:
    """Seconds of `Retry-After`, where it is a number."""
    asked = response.headers.get("retry-after", "")
    return min(_LONGEST_PAUSE, max(1, int(asked))) if asked.isascii() and asked.isdigit() else 1
