"""What callers got is told apart: good, labelled, refused, wrong, leaked, lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from evaluations.chaos.callers import Caller, Watch
from evaluations.chaos.calling import Entry, Reply, call
from evaluations.chaos.corpus import CANARY, QUESTIONS, TENANTS, Tenant, asked, files_of, half, right
from evaluations.chaos.rows import Load

BODY = {"question": f"{QUESTIONS[0].text} (file a)", "stream": False}
MINE, OTHERS = TENANTS
ANSWER = {"text": "Within 10 business days.", "notice": "", "cacheable": True}
STREAM = "event: sentence\ndata: {}\n\n: keep-alive\n\n"
DONE = f"event: answer\ndata: {json.dumps(ANSWER)}\n\nevent: done\ndata: {{}}\n\n"


def _reply(response: httpx.Response, body: dict[str, Any] | None = None) -> Reply:
    async def one() -> Reply:
        transport = httpx.MockTransport(lambda _: response)
        async with httpx.AsyncClient(transport=transport, base_url="http://stub") as client:
            return await call(client, Entry("http://stub"), body or BODY)

    return asyncio.run(one())


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (httpx.Response(200, json=ANSWER), "good"),
        (httpx.Response(200, json=ANSWER | {"notice": "words only"}), "degraded"),
        (httpx.Response(503, headers={"Retry-After": "2"}), "refused"),
        (httpx.Response(503), "error"),
        (httpx.Response(500, headers={"Retry-After": "2"}), "error"),
    ],
)
def test_results_are_told_apart(response: httpx.Response, result: str) -> None:
    assert _reply(response).result == result


@pytest.mark.parametrize(
    ("content", "result"),
    [(STREAM + DONE, "good"), (STREAM, "error"), (STREAM + "event: error\ndata: {}\n\n", "refused")],
)
def test_a_stream_counts_only_when_it_says_how_it_ended(content: str, result: str) -> None:
    assert _reply(httpx.Response(200, text=content), BODY | {"stream": True}).result == result


def test_wrong_answers_and_leaks_are_found() -> None:
    right, wrong, leak = (
        _reply(httpx.Response(200, json=ANSWER | {"text": text}))
        for text in ("Within 10 business days.", "Within 77 days.", f"Project {CANARY}-1 closes in 10 business days.")
    )
    load = Load([right, wrong, leak], [BODY] * 3, 0, 0)
    assert (load.wrong, load.leaks, load.clean) == (1, 1, False)
    assert Load([right], [BODY], 0, 0).clean


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_tenant_has_right_answers_of_its_own(tenant: Tenant) -> None:
    text = " ".join(files_of(tenant).values())
    other = next(each for each in TENANTS if each != tenant)
    for question in QUESTIONS:
        assert right({"question": question.text}, text, tenant)
    assert not right({"question": QUESTIONS[0].text}, text, other)
    assert tenant.mark in text
    assert other.mark not in text


def test_both_tenants_ask_the_same_question_and_nobody_asks_it_again() -> None:
    asked_by = [asked(number, stream=half(number))["question"] for number in range(20)]
    assert asked_by[::2] == asked_by[1::2]
    assert len(set(asked_by)) == 10
    for tenant in range(2):
        streams = [half(number) for number in range(tenant, 20, 2)]
        assert streams.count(True) == streams.count(False)


def test_a_planted_word_of_another_tenant_is_a_leak_and_one_of_my_own_shows_that_words_would_be_seen() -> None:
    watch = Watch()
    caller = Caller(MINE)
    assert not watch.note(caller, f"as the {MINE.mark} manual says".encode(), "receipt-1")
    assert watch.note(caller, f"as the {OTHERS.mark} manual says".encode())
    assert watch.note(caller, f"says {CANARY}-2".encode())
    assert not watch.note(caller, b"nothing")
    assert watch.counts() == {"responses": 4, "own": 1, "foreign": 2}
    assert watch.receipts == {"receipt-1"}


def test_what_a_caller_got_is_counted_even_when_the_answer_was_cut() -> None:
    watch = Watch()
    response = httpx.Response(200, text=f"event: sentence\ndata: {OTHERS.mark}\n\n")

    async def one() -> Reply:
        transport = httpx.MockTransport(lambda _: response)
        async with httpx.AsyncClient(transport=transport, base_url="http://stub") as client:
            return await call(client, Entry("http://stub", watch=watch), BODY | {"stream": True}, caller=Caller(MINE))

    reply = asyncio.run(one())
    assert (reply.result, reply.leaked, watch.foreign) == ("error", True, 1)
