"""What callers got is told apart: good, labelled, refused, wrong, leaked, lost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from evaluations.chaos.calling import Entry, Reply, call
from evaluations.chaos.corpus import CANARY, QUESTIONS
from evaluations.chaos.rows import Load

BODY = {"question": f"{QUESTIONS[0].text} (file a)", "stream": False}
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
        for text in ("Within 10 business days.", "Within 77 days.", f"Project {CANARY}-1 closes in 10 days.")
    )
    load = Load([right, wrong, leak], [BODY] * 3, 0, 0)
    assert (load.wrong, load.leaks, load.clean) == (1, 1, False)
    assert Load([right], [BODY], 0, 0).clean
