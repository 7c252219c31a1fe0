"""The language model in another process: the engine that the Assistant uses with `generation.serving: service`."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname
from weakref import WeakKeyDictionary

import httpx

from rag.errors import Busy, Full, ModelError, QuestionError
from rag.models.engine import EngineStats, FinishReason, GenerationRequest, Usage
from rag.models.engines.remote import RemoteEngine, RemoteGeneration
from rag.operations.tracing import client_span, outgoing

logger = logging.getLogger(__name__)

_BYTES_PER_TOKEN: Final = (
    4  # of English; the tokeniser is in the other process, which checks the prompt's length itself
)
_SILENCE_SECONDS: Final = 10.0  # a Generator that lives speaks to its watchers every second, also under load
_GRACE_SECONDS: Final = 2.0  # beyond the deadline, which the Generator keeps itself
_AGAIN_SECONDS: Final = 1.0  # between two tries to watch
_UNWATCHED: Final = EngineStats(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Facts:
    engine: str
    model: str
    context_window: int


class RemoteGenerator(RemoteEngine):
    """See `Engine`. Watches the Generator for as long as it is open, by which the Generator knows that it is needed.

    When the Generator is down, requests end as `failed`, and are served again as soon as it is back.
    """

    def __init__(self, url: str) -> None:
        """Wait for the Generator at `url`: `file:///…` for a socket, or `http://…`.

        Raises `Busy` while it is starting, and the `ModelError` for which it cannot start.
        """
        super().__init__()
        self._url = url
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._stats = _UNWATCHED
        self._watched: Future[_Facts] = Future()
        self._stop = threading.Event()
        self._watch_loop = asyncio.new_event_loop()
        self._watch_task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._keep_watching, name="generator-watch", daemon=True)
        self._thread.start()
        try:
            self._facts = self._watched.result(_SILENCE_SECONDS)
        except TimeoutError as error:
            self._end_watch()
            raise Busy("The Generator service does not answer; try again in a moment.", retry_after=2) from error
        except BaseException:
            self._end_watch()
            raise

    @property
    def name(self) -> str:
        """See `Engine`."""
        return self._facts.engine

    @property
    def model_name(self) -> str:
        """See `Engine`."""
        return self._facts.model

    @property
    def context_window(self) -> int:
        """See `Engine`."""
        return self._facts.context_window

    def count_tokens(self, prompt: str) -> int:
        """An estimate: the tokeniser is in the other process."""
        return math.ceil(len(prompt.encode()) / _BYTES_PER_TOKEN)

    def submit(self, request: GenerationRequest) -> RemoteGeneration:
        """See `Engine`. The Generator is asked afterwards: what it refuses is raised, or fails, while iterating."""
        return self._begin(request, self.count_tokens(request.prompt))

    def stats(self) -> EngineStats:
        """What the Generator does for all its callers, at most a second ago; no slots while it is down."""
        return self._stats

    async def close(self) -> None:
        """See `Engine`. The Generator itself goes on."""
        await super().close()
        await asyncio.to_thread(self._end_watch)

    async def _disconnect(self) -> None:
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        """The client of this event loop: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = _open_client(self._url)
        return self._clients[loop]

    async def _outcome(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
        try:
            async with asyncio.timeout(generation.request.deadline_seconds + _GRACE_SECONDS):
                return await self._stream(generation)
        except (ModelError, QuestionError) as refused:
            return "failed", str(refused)
        except TimeoutError:
            return "deadline", "the Generator service did not finish in time"
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return "failed", f"the Generator service broke off ({type(error).__name__}); its log says why"

    async def _stream(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
        described = {"gen_ai.operation.name": "chat", "gen_ai.request.model": self.model_name}
        with client_span(f"chat {self.model_name}", described) as span:
            reason, detail = await self._read(generation)
            span.set_attributes(
                {
                    "gen_ai.response.finish_reasons": (reason,),
                    "gen_ai.usage.input_tokens": generation.counted().prompt_tokens,
                    "gen_ai.usage.output_tokens": generation.counted().completion_tokens,
                }
            )
            return reason, detail

    async def _read(self, generation: RemoteGeneration) -> tuple[FinishReason, str]:
        response = await _answer(self._client(), "POST", "/generate", asdict(generation.request))
        try:
            async for line in response.aiter_lines():
                said = json.loads(line)
                if (finished := said.get("finished")) is None:
                    generation.say(said["text"], said["tokens"])
                    continue
                generation.usage = Usage(**finished["usage"])
                generation.queued_seconds = finished["queued_seconds"]
                return finished["reason"], finished["detail"]
        finally:
            await response.aclose()
        return "failed", "the Generator service broke off; its log says why"

    def _keep_watching(self) -> None:
        asyncio.set_event_loop(self._watch_loop)
        self._watch_task = self._watch_loop.create_task(self._watch())
        with suppress(asyncio.CancelledError):
            self._watch_loop.run_until_complete(self._watch_task)
        self._watch_loop.run_until_complete(self._watch_loop.shutdown_asyncgens())
        self._watch_loop.close()

    async def _watch(self) -> None:
        async with _open_client(self._url) as client:
            while not self._stop.is_set():
                try:
                    await self._watch_once(client)
                except (Busy, ModelError, QuestionError) as error:
                    if not self._watched.done():
                        self._watched.set_exception(error)
                        return
                except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError) as error:
                    logger.warning("the Generator service cannot be watched: %s", type(error).__name__)
                self._stats = _UNWATCHED
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch_once(self, client: httpx.AsyncClient) -> None:
        async with asyncio.timeout(_SILENCE_SECONDS):
            response = await _answer(client, "GET", "/watch")
        try:
            async for said in _objects(response):
                if "engine" not in said:
                    self._stats = EngineStats(**said)
                elif not self._watched.done():
                    self._watched.set_result(_Facts(**said))
        finally:
            await response.aclose()

    def _end_watch(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            with suppress(RuntimeError):  # it ended by itself just now
                self._watch_loop.call_soon_threadsafe(lambda: self._watch_task and self._watch_task.cancel())
            self._thread.join(10)


async def _objects(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Lines as objects. Silence of some seconds is an error: the Generator speaks every second."""
    lines = response.aiter_lines()
    while True:
        async with asyncio.timeout(_SILENCE_SECONDS):
            line = await anext(lines, None)
        if line is None:
            return
        yield json.loads(line)


async def _answer(client: httpx.AsyncClient, method: str, path: str, body: object | None = None) -> httpx.Response:
    """The response, its body not read yet. Raises what the Generator refuses, as what it is here."""
    response = await client.send(client.build_request(method, path, json=body, headers=outgoing()), stream=True)
    if response.status_code == httpx.codes.OK:
        return response
    try:
        problem = json.loads(await response.aread())
        detail, code = str(problem.get("detail")), problem.get("code", problem.get("type", ""))
    finally:
        await response.aclose()
    if str(code).endswith((":busy", ":full")):
        asked = response.headers.get("retry-after", "")
        kind = Full if response.status_code == httpx.codes.TOO_MANY_REQUESTS else Busy
        raise kind(detail, int(asked) if asked.isdecimal() else 1)
    raise ModelError(detail)


def _open_client(url: str) -> httpx.AsyncClient:
    """A client without limits of its own: how many may be in flight is the Generator's affair."""
    timeout = httpx.Timeout(None)  # the request's deadlines do it
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    parts = urlsplit(url)
    if parts.scheme == "file":
        transport = httpx.AsyncHTTPTransport(uds=url2pathname(parts.path), limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://generator", timeout=timeout, trust_env=False)
    base = url.replace("tcp://", "http://", 1)
    return httpx.AsyncClient(base_url=base, timeout=timeout, limits=limits, trust_env=False)
