"""The door: what a caller is told, when, and what of its request was touched before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bentos.admission import BodyLimit
from bentos.back_pressure import BackPressure, estimated_tokens, retry_after
from bentos.draining import Draining
from bentos.problems import Problem, respond
from rag.domain import Principal
from rag.errors import Full
from rag.operations import deadline, turns
from rag.operations.limits import note_tokens
from rag.settings import Settings


class Application:
    """Takes a place, except for what it "knows", and answers when it is told to, with the body."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.begun: list[str] = []
        self.left: list[float] = []
        self.tokens = 0
        routes = [Route(path, self._answer, methods=["GET", "POST"]) for path in ("/v1/ask", "/v1/search", "/health")]
        self.app = Starlette(routes=routes, exception_handlers={Full: self._refuse})

    async def _answer(self, request: Request) -> PlainTextResponse:
        body = (await request.body()).decode()
        if body != "known":
            await turns.turn()
        self.begun.append(request.headers.get("x-person", ""))
        self.left.append(deadline.remaining(1e9))
        note_tokens(self.tokens)
        if request.url.path != "/health" and body != "known":
            await self.release.wait()
        return PlainTextResponse(body)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        return respond(error, request)


async def _identify(request: Request) -> Principal:
    person = request.headers.get("x-person", "")
    if person == "stranger":
        raise Problem(401, "unauthenticated", "Sign in.")
    return Principal(person, request.headers.get("x-tenant", "bank"))


@pytest.fixture
def inner() -> Application:
    return Application()


@pytest.fixture
def door(inner: Application, make_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """`door(slots=1)`: a caller in front of the application with this admission; `.door` is the layer itself."""

    def make(
        draining: Draining | None = None,
        server: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        **admission: Any,
    ) -> Any:
        settings = make_settings(admission=admission, server=server or {}, limits=limits or {})
        layer = BackPressure(
            inner.app, settings=lambda: settings, identify=_identify, engine_slots=lambda: 0, draining=draining,
            chance=random.Random(0),
        )  # fmt: skip
        transport = httpx.ASGITransport(app=BodyLimit(layer, 1000, 1000))
        return SimpleNamespace(door=layer, client=httpx.AsyncClient(transport=transport, base_url="http://localhost"))

    return make


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)


def _ask(client: httpx.AsyncClient, person: str, **more: Any) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.post("/v1/ask", content=b"question", headers={"x-person": person}, **more))


async def test_question_waits_for_a_slot_and_arrives_whole(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=1)
    first = _ask(made.client, "a")
    await _until(lambda: made.door.queue.running == 1)
    second = _ask(made.client, "b")
    await _until(lambda: made.door.queue.waiting == 1)
    assert inner.begun == ["a"]
    inner.release.set()
    assert [(await each).text for each in (first, second)] == ["question", "question"]
    assert (made.door.queue.running, made.door.queue.waiting) == (0, 0)


@pytest.mark.proves("LLM10")
async def test_full_system_and_a_greedy_caller_are_429_for_their_own_reasons_with_retry_after(
    inner: Application, door: Callable[..., Any]
) -> None:
    made = door(slots=1, queue=1)
    tasks = [_ask(made.client, "a")]
    await _until(lambda: made.door.queue.running == 1)
    tasks.append(_ask(made.client, "b"))
    await _until(lambda: made.door.queue.waiting == 1)
    full, greedy = await _ask(made.client, "c"), await _ask(made.client, "b")
    inner.release.set()
    await asyncio.gather(*tasks)
    assert (full.status_code, full.json()["type"]) == (429, "urn:banksight:problem:full")
    assert (greedy.status_code, greedy.json()["type"]) == (429, "urn:banksight:problem:over_share")
    assert all(int(each.headers["retry-after"]) >= 1 for each in (full, greedy))
    assert inner.begun == ["a", "b"]


async def test_what_is_known_is_answered_while_every_place_is_taken(
    inner: Application, door: Callable[..., Any]
) -> None:
    made = door(slots=1, queue=0)
    first = _ask(made.client, "a")
    await _until(lambda: made.door.queue.running == 1)
    known = await made.client.post("/v1/ask", content=b"known", headers={"x-person": "b"})
    new = await _ask(made.client, "b")
    inner.release.set()
    assert (known.status_code, known.text, new.status_code, (await first).status_code) == (200, "known", 429, 200)


async def test_body_of_who_has_more_than_their_share_is_not_read(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=2, user_slots=1)
    made.door.queue._seconds_per_cost = 1.0  # as if answers had taken minutes
    first, other = _ask(made.client, "greedy"), _ask(made.client, "b")
    await _until(lambda: made.door.queue.running == 2)
    read = []

    async def body() -> Any:
        read.append(1)
        yield b"known"

    refused = await made.client.post("/v1/ask", content=body(), headers={"x-person": "greedy"})
    inner.release.set()
    await asyncio.gather(first, other)
    assert (refused.status_code, refused.json()["type"], read) == (429, "urn:banksight:problem:over_share", [])


async def test_body_is_not_read_where_too_many_questions_have_no_place_yet(door: Callable[..., Any]) -> None:
    made = door(server={"max_concurrency": 1})
    unread = asyncio.Event()
    read = []

    async def stuck() -> Any:
        await unread.wait()
        yield b"question"

    async def body() -> Any:
        read.append(1)
        yield b"question"

    first = asyncio.create_task(made.client.post("/v1/ask", content=stuck(), headers={"x-person": "a"}))
    await _until(lambda: made.door._questions == 1)
    refused = await made.client.post("/v1/ask", content=body(), headers={"x-person": "b"})
    first.cancel()
    assert (refused.status_code, read) == (429, [])


async def test_newcomer_takes_the_place_of_who_waits_with_most(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=1, queue=2)
    running = _ask(made.client, "greedy")
    await _until(lambda: made.door.queue.running == 1)
    waiting = [_ask(made.client, "greedy") for _ in range(2)]
    await _until(lambda: made.door.queue.waiting == 2)
    modest = _ask(made.client, "modest")
    refused = await waiting[1]
    inner.release.set()
    assert refused.status_code == 429
    assert [(await each).status_code for each in (running, waiting[0], modest)] == [200, 200, 200]
    assert inner.begun == ["greedy", "modest", "greedy"]


async def test_who_waits_too_long_is_told_to_come_back(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=1, queue_seconds=0.05)
    first = _ask(made.client, "a")
    await _until(lambda: made.door.queue.running == 1)
    late = await _ask(made.client, "b")
    inner.release.set()
    await first
    assert (late.status_code, "retry-after" in late.headers, inner.begun) == (429, True, ["a"])


async def test_oversized_body_is_refused_without_a_place(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=1)
    first = _ask(made.client, "a")
    await _until(lambda: made.door.queue.running == 1)

    async def body() -> Any:
        for _ in range(30):
            yield b"x" * 100

    refused = await made.client.post("/v1/ask", content=body(), headers={"x-person": "b"})
    inner.release.set()
    await first
    assert (refused.status_code, made.door.queue.waiting) == (413, 0)


async def test_stranger_is_refused_before_taking_a_place(inner: Application, door: Callable[..., Any]) -> None:
    made = door(slots=1, queue=0)
    refused = await _ask(made.client, "stranger")
    assert (refused.status_code, made.door.queue.running, inner.begun) == (401, 0, [])


async def test_other_requests_are_counted_and_probes_are_not(inner: Application, door: Callable[..., Any]) -> None:
    made = door(server={"max_concurrency": 1}, slots=1, queue=0)
    asked, searched = _ask(made.client, "a"), asyncio.create_task(made.client.post("/v1/search", content=b"words"))
    await _until(lambda: len(inner.begun) == 2)
    refused, probe = await made.client.post("/v1/search", content=b"words"), await made.client.get("/health")
    inner.release.set()
    assert (refused.status_code, "retry-after" in refused.headers, probe.status_code) == (429, True, 200)
    assert [(await each).status_code for each in (asked, searched)] == [200, 200]
    assert (await made.client.post("/v1/search", content=b"words")).status_code == 200


@pytest.mark.parametrize(("said", "most"), [("3", 3.0), ("900", 30.0), ("nonsense", 30.0), ("-1", 30.0), ("nan", 30.0)])
async def test_deadline_is_the_shorter_of_the_callers_and_ours(
    inner: Application, door: Callable[..., Any], said: str, most: float
) -> None:
    inner.release.set()
    await door().client.post("/v1/ask", content=b"", headers={"x-deadline-seconds": said})
    assert most - 1 < inner.left[0] <= most


async def test_once_draining_has_begun_new_requests_are_sent_elsewhere_and_open_ones_finish(
    inner: Application, door: Callable[..., Any]
) -> None:
    ended: list[int] = []
    draining = Draining(10)
    made = door(draining, slots=4)
    first = _ask(made.client, "a")
    await _until(lambda: made.door.queue.running == 1)
    draining._begin(15, lambda number, _: ended.append(number))
    refused, probe = await _ask(made.client, "b"), await made.client.get("/health")
    assert (refused.status_code, refused.headers["connection"], refused.headers["retry-after"]) == (503, "close", "1")
    assert (probe.status_code, ended) == (200, [])
    inner.release.set()
    assert (await first).status_code == 200
    await _until(lambda: ended == [15])


async def test_who_is_not_done_when_patience_ends_is_cancelled(inner: Application, door: Callable[..., Any]) -> None:
    ended: list[int] = []
    draining = Draining(0.05)
    first = _ask(door(draining).client, "a")
    await _until(lambda: inner.begun == ["a"])
    draining._begin(15, lambda number, _: ended.append(number))
    with pytest.raises(asyncio.CancelledError):
        await first
    assert ended == [15]


async def test_answers_say_how_much_is_left_and_who_has_used_it_up_is_told_when_there_is_more(
    inner: Application, door: Callable[..., Any]
) -> None:
    inner.release.set()
    made = door(limits={"user": {"requests_per_minute": 2}, "tenant": {"requests_per_minute": 1000}})
    first, second, third = [await _ask(made.client, "a") for _ in range(3)]
    other = await made.client.post("/v1/search", content=b"words", headers={"x-person": "b"})
    assert [each.status_code for each in (first, second, third, other)] == [200, 200, 429, 200]
    assert [each.headers["ratelimit-remaining"] for each in (first, second, third, other)] == ["1", "0", "0", "1"]
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-policy"]) == ("2", "2;w=60, 1000;w=60")
    assert 0 < int(first.headers["ratelimit-reset"]) <= 60
    assert third.json()["type"] == "urn:banksight:problem:rate_limited"
    assert "2 requests a minute" in third.json()["detail"]
    assert int(third.headers["retry-after"]) >= 1
    assert len(inner.begun) == 3


@pytest.mark.proves("LLM10", "AISVS 12.2.5")
async def test_tokens_of_an_answer_are_charged_and_the_day_ends_with_the_quota(
    inner: Application, door: Callable[..., Any]
) -> None:
    inner.release.set()
    inner.tokens = 900
    made = door(limits={"user": {"tokens_per_day": 1000}})
    answers = [await _ask(made.client, "a") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert [each.headers["ratelimit-remaining"] for each in answers] == ["1000", "100", "0"]
    assert answers[2].json()["type"] == "urn:banksight:problem:quota_exceeded"


def test_cost_grows_with_the_question_up_to_the_longest_one(settings: Settings) -> None:
    lengths = ("0", "400", "4000", "40000", "")
    costs = [estimated_tokens(each, settings) for each in lengths]
    assert costs == sorted(costs)
    assert costs[2] == costs[3] == costs[4]


def test_those_who_were_refused_together_do_not_come_back_together() -> None:
    chance = random.Random(1)
    pauses = [retry_after(4.0, chance) for _ in range(200)]
    assert (min(pauses), max(pauses)) == (4, 6)
    assert min(retry_after(0.0, chance) for _ in range(20)) == 1
