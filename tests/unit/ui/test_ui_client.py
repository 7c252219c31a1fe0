"""The client against every way in which an API can answer or fail to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import httpx
import pytest

from ui import errors
from ui.client import ApiClient
from ui.settings import UiSettings
from ui.wire import Answer, Citation, Sentence, Stage, StreamEvent, Turn

ANSWER = {"id": "a1", "text": "Ten days [1].", "status": "answered", "of_the_future": True}
CITATION = {
    "marker": 1,
    "document_id": "d1",
    "title": "T",
    "page": 3,
    "start": 4,
    "end": 9,
    "quote": "q",
    "url": "/v1/x",
}
COMPLETE = [
    'event: status\ndata: {"stage": "retrieve", "detail": {"passages": [{"document_id": "d", "title": "T"}]}}\n\n',
    ": keep-alive\n\n",
    "event: mood\ndata: not even JSON\n\n",
    'event: sentence\ndata: {"index": 0, "text": "Zehn Tage für 5 € [1]."}\n\n',
    f"event: citation\ndata: {json.dumps(CITATION)}\n\n",
    f"event: answer\ndata: {json.dumps(ANSWER)}\n\n",
    "event: done\ndata: {}\n\n",
]


class Chunks(httpx.AsyncByteStream):
    """A body that arrives in these pieces, and then waits for ever if it is told to. Knows whether it was closed."""

    def __init__(self, chunks: list[bytes], then: str = "end") -> None:
        self.chunks, self.then, self.closed = chunks, then, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
            await asyncio.sleep(0)
        if self.then == "wait":
            await asyncio.Event().wait()
        if self.then == "break":
            raise httpx.RemoteProtocolError("peer closed connection")

    async def aclose(self) -> None:
        self.closed = True


def client_of(handler: Callable[[httpx.Request], httpx.Response], **settings: float) -> ApiClient:
    return ApiClient(UiSettings(**settings), httpx.MockTransport(handler))  # type: ignore[arg-type] # numbers are numbers


def streaming(body: httpx.AsyncByteStream) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=body)


async def events_of(client: ApiClient) -> list[StreamEvent]:
    return [event async for event in client.ask("How long?")]


async def test_a_complete_stream_becomes_typed_events_without_the_unknown_ones() -> None:
    stage, sentence, citation, answer = await events_of(client_of(streaming(Chunks(["".join(COMPLETE).encode()]))))
    assert isinstance(stage, Stage)
    assert [passage.document_id for passage in stage.passages()] == ["d"]
    assert sentence == Sentence(index=0, text="Zehn Tage für 5 € [1].")
    assert isinstance(citation, Citation)
    assert isinstance(answer, Answer)
    assert answer.text == "Ten days [1]."


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_how_the_network_splits_the_stream_changes_nothing(size: int) -> None:
    raw = "".join(COMPLETE).replace("\n", "\r\n").encode()
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert len(await events_of(client_of(streaming(Chunks(pieces))))) == 4


async def test_the_question_goes_out_with_its_history() -> None:
    sent: list[dict[str, object]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, content="".join(COMPLETE))

    turns = [Turn(role="user", content="Before?"), Turn(role="assistant", content="That.")]
    assert len([event async for event in client_of(handler).ask("And now?", turns)]) == 4
    history = [{"role": "user", "content": "Before?"}, {"role": "assistant", "content": "That."}]
    assert sent == [{"question": "And now?", "history": history, "stream": True, "fresh": False}]


async def test_a_stream_without_done_is_a_failure_even_after_the_answer() -> None:
    with pytest.raises(errors.StreamCut):
        await events_of(client_of(streaming(Chunks(["".join(COMPLETE[:-1]).encode()]))))


async def test_a_connection_that_breaks_is_a_cut_stream() -> None:
    with pytest.raises(errors.StreamCut):
        await events_of(client_of(streaming(Chunks([COMPLETE[3].encode()], then="break"))))


async def test_an_error_event_ends_the_stream_with_what_it_stands_for() -> None:
    body = 'event: error\ndata: {"status": 503, "title": "Starting", "detail": "internal"}\n\n'
    with pytest.raises(errors.BackendBusy):
        await events_of(client_of(streaming(Chunks([body.encode()]))))


async def test_an_event_that_breaks_the_contract_is_a_failure() -> None:
    with pytest.raises(errors.BackendFailed):
        await events_of(client_of(streaming(Chunks([b"event: answer\ndata: {}\n\n"]))))


async def test_an_answer_that_takes_too_long_in_all_is_given_up() -> None:
    body = Chunks([COMPLETE[3].encode()], then="wait")
    with pytest.raises(errors.BackendTimeout):
        await events_of(client_of(streaming(body), ui_answer_seconds=0.05))
    assert body.closed


async def test_closing_the_events_closes_the_connection() -> None:
    body = Chunks([COMPLETE[3].encode()], then="wait")
    async with aclosing(client_of(streaming(body)).ask("How long?")) as events:
        assert isinstance(await anext(events), Sentence)
        assert not body.closed
    assert body.closed


async def test_cancelling_the_reader_closes_the_connection() -> None:
    body, started = Chunks([COMPLETE[3].encode()], then="wait"), asyncio.Event()

    async def read() -> None:
        async with aclosing(client_of(streaming(body)).ask("How long?")) as events:
            async for _ in events:
                started.set()

    reader = asyncio.create_task(read())
    await started.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert body.closed


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.QuestionRejected),
        (404, errors.SourceNotFound),
        (413, errors.QuestionRejected),
        (422, errors.QuestionRejected),
        (429, errors.BackendBusy),
        (500, errors.BackendFailed),
        (502, errors.BackendFailed),
        (503, errors.BackendBusy),
        (504, errors.BackendTimeout),
        (302, errors.BackendFailed),
    ],
)
@pytest.mark.parametrize("body", ['{"title": "T", "detail": "Do this."}', "<html>", "[1]", ""])
async def test_each_status_has_its_error_whatever_the_body(status: int, kind: type[Exception], body: str) -> None:
    with pytest.raises(kind):
        await events_of(client_of(lambda _: httpx.Response(status, content=body)))


async def test_advice_is_kept_for_the_reader_and_the_wait_for_the_clock() -> None:
    with pytest.raises(errors.QuestionRejected) as rejected:
        await events_of(client_of(lambda _: httpx.Response(422, json={"detail": "Shorten it."})))
    assert rejected.value.advice == "Shorten it."
    with pytest.raises(errors.BackendBusy) as busy:
        await events_of(client_of(lambda _: httpx.Response(429, headers={"Retry-After": "7"})))
    assert busy.value.retry_after == 7


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("refused"), errors.BackendDown),
        (httpx.ConnectTimeout("slow"), errors.BackendDown),
        (httpx.ReadTimeout("slow"), errors.BackendTimeout),
        (httpx.PoolTimeout("full"), errors.BackendBusy),
        (httpx.ReadError("reset"), errors.StreamCut),
    ],
)
async def test_each_network_failure_has_its_error(raised: Exception, kind: type[Exception]) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(kind):
        await events_of(client_of(handler))


async def test_a_page_is_asked_for_by_its_quote() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://127.0.0.1:3000/v1/documents/d1/pages/3?start=4&end=9"
        return httpx.Response(200, json={"document_id": "d1", "title": "T", "media_type": "text/plain", "text": "x"})

    page = await client_of(handler).page(Citation.model_validate(CITATION))
    assert (page.media_type, page.text) == ("text/plain", "x")


@pytest.mark.parametrize("passages", [None, 3, "x", [3, {"title": "no id"}], {}])
def test_a_step_that_cannot_be_read_does_not_spoil_the_answer(passages: object) -> None:
    assert Stage(stage="retrieve", detail={"passages": passages}).passages() == ()
    assert Stage(stage="decide", detail={"passages": [{"document_id": "d", "title": "T"}]}).passages() == ()


async def test_every_request_begins_a_trace_of_its_own() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["traceparent"])
        return httpx.Response(404, json={})

    client = client_of(answer)
    for _ in range(2):
        with pytest.raises(errors.SourceNotFound):
            await client.page(Citation.model_validate(CITATION))
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", each) for each in seen)
    assert seen[0] != seen[1]
    await client.close()
