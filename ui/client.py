"""The HTTP client of the API: typed answers, typed errors, and a stream that stops the work when it is closed."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import httpx
from pydantic import ValidationError

from ui.credentials import current_bearer
from ui.errors import (
    BackendBusy,
    BackendDown,
    BackendError,
    BackendFailed,
    BackendTimeout,
    QuestionRejected,
    SignInNeeded,
    SourceNotFound,
    StreamCut,
)
from ui.settings import UiSettings
from ui.sse import EventTooLarge, ServerEvent, server_events
from ui.wire import Answer, Citation, DocumentPage, Person, Problem, Sentence, Stage, StreamEvent, Turn

EVENT_MODELS: dict[str, type[StreamEvent]] = {
    "status": Stage,
    "sentence": Sentence,
    "citation": Citation,
    "answer": Answer,
}
EVENT_STREAM = {"Accept": "text/event-stream"}
DEFAULT_RETRY_SECONDS = 2


class ApiClient:
    """Speaks to one API. Share one per process: it keeps its connections."""

    def __init__(self, settings: UiSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        patience = httpx.Timeout(
            settings.ui_silence_seconds, connect=settings.ui_connect_seconds, pool=settings.ui_connect_seconds
        )
        # Proxies of the environment are for the internet; the API is on a network of our own.
        self._http = httpx.AsyncClient(
            base_url=settings.api_base,
            timeout=patience,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            event_hooks={"request": [_begin_trace, _say_who_asks]},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def ask(
        self, question: str, history: Sequence[Turn] = (), freshness: Literal["any", "fresh"] = "any"
    ) -> AsyncGenerator[StreamEvent]:
        """Yield what the API says while it answers, the finished `Answer` last; `fresh`: not one that it gave before.

        Closing the iterator, or cancelling the task that reads it, closes the connection, which cancels the work.
        Raises a BackendError.
        """
        turns = [turn.model_dump() for turn in history]
        body = {"question": question, "history": turns, "stream": True, "fresh": freshness == "fresh"}
        events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        # A task of its own, so that stopping reaches the read that waits for the network. Left half-read by a plain
        # loop, the generators inside httpx would be closed by the garbage collector, too late and in another task.
        reading = asyncio.create_task(self._read_answer(body, events.put_nowait))
        reading.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            reading.result()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read_answer(self, body: dict[str, Any], emit: Callable[[StreamEvent], None]) -> None:
        headers = EVENT_STREAM | {"X-Deadline-Seconds": f"{self._settings.ui_answer_seconds:g}"}
        with _translated():
            async with (
                asyncio.timeout(self._settings.ui_answer_seconds),
                self._http.stream("POST", "/v1/ask", json=body, headers=headers) as response,
            ):
                await _raise_for_problem(response)
                await _read_events(response, emit)

    async def page(self, citation: Citation) -> DocumentPage:
        """The page that a citation points to, with the text as it was indexed. Raises a BackendError."""
        path = f"/v1/documents/{citation.document_id}/pages/{citation.page}"
        with _translated():
            response = await self._http.get(path, params={"start": citation.start, "end": citation.end})
            await _raise_for_problem(response)
            return DocumentPage.model_validate_json(response.content)

    async def judge(self, receipt_id: str, value: str, comment: str) -> None:
        """Say what somebody thinks of the answer with this receipt: up, down or withdrawn. Raises a BackendError."""
        body = {"receipt_id": receipt_id, "value": value, "comment": comment}
        with _translated():
            await _raise_for_problem(await self._http.post("/v1/feedback", json=body))

    async def person(self, key: str) -> Person:
        """Whom the API takes somebody with this key or token for. Raises a BackendError."""
        with _translated():
            response = await self._http.get("/v1/me", headers={"Authorization": f"Bearer {key}"})
            await _raise_for_problem(response)
            return Person.model_validate_json(response.content)

    async def log_out(self, token: str) -> None:
        """Let the API refuse this token from now on. A key would be refused too. Raises a BackendError."""
        with _translated():
            headers = {"Authorization": f"Bearer {token}"}
            await _raise_for_problem(await self._http.post("/v1/logout", headers=headers))

    @asynccontextmanager
    async def open(self, path: str, *, accept: str, params: dict[str, int]) -> AsyncIterator[httpx.Response]:
        """A response whose body is still to be read, for passing it on. Raises a BackendError."""
        with _translated():
            async with self._http.stream("GET", path, headers={"Accept": accept}, params=params) as response:
                await _raise_for_problem(response)
                yield response


async def _begin_trace(request: httpx.Request) -> None:
    """Every request begins a trace (W3C Trace Context), so that the logs of all processes that it reaches agree."""
    request.headers["traceparent"] = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


async def _say_who_asks(request: httpx.Request) -> None:
    """The person's own key or token goes with each request, so that their roles and labels hold for what is shown."""
    if "Authorization" not in request.headers and (bearer := await current_bearer.get()()):
        request.headers["Authorization"] = f"Bearer {bearer}"


@contextmanager
def _translated() -> Iterator[None]:
    """Turns what httpx and pydantic raise into our own errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as problem:
        raise BackendDown(f"cannot connect: {problem}") from problem
    except httpx.PoolTimeout as problem:
        raise BackendBusy("all connections are in use", DEFAULT_RETRY_SECONDS) from problem
    except (httpx.TimeoutException, TimeoutError) as problem:
        raise BackendTimeout(f"no answer in time: {type(problem).__name__}") from problem
    except httpx.HTTPError as problem:
        raise StreamCut(f"connection lost: {type(problem).__name__}: {problem}") from problem
    except (ValidationError, EventTooLarge) as problem:
        raise BackendFailed(f"not what the contract says: {type(problem).__name__}") from problem


async def _read_events(response: httpx.Response, emit: Callable[[StreamEvent], None]) -> None:
    end: ServerEvent | None = None
    async for event in server_events(response.aiter_lines()):
        model = EVENT_MODELS.get(event.name)
        if end is None and model is not None:
            emit(model.model_validate_json(event.data))
        elif event.name in ("done", "error"):
            end = end or event  # and read on: the API closes the connection now
    if end is None:
        raise StreamCut("the stream ended without `done`")
    if end.name == "error":
        raise problem_error(Problem.model_validate_json(end.data))


async def _raise_for_problem(response: httpx.Response) -> None:
    if response.is_success:
        return
    await response.aread()
    try:
        fields: Any = json.loads(response.content)
        problem = Problem.model_validate(fields if isinstance(fields, dict) else {})
    except (ValueError, ValidationError):
        problem = Problem()
    retry = response.headers.get("Retry-After", "")
    raise problem_error(problem.model_copy(update={"status": response.status_code}), retry)


def problem_error(problem: Problem, retry_after: str = "") -> BackendError:
    """The error that a problem document stands for. Its detail is kept for the reader only where the reader can act."""
    text = f"{problem.status} {problem.title} {problem.instance}".strip()
    match problem.status:
        case 400 | 413 | 422:
            return QuestionRejected(text, problem.detail)
        case 401:
            return SignInNeeded(text)
        case 404:
            return SourceNotFound(text)
        case 429 | 503:
            return BackendBusy(text, int(retry_after) if retry_after.isdecimal() else DEFAULT_RETRY_SECONDS)
        case 408 | 504:
            return BackendTimeout(text)
        case _:
            return BackendFailed(text)
