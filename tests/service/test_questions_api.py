"""Questions over HTTP: /v1/ask, /v1/search."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

QUESTION = "Within how many business days must a bank determine whether an error occurred?"


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_answer_quotes_the_page_that_its_citation_links_to(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/ask", json={"question": QUESTION})
    answer = response.json()
    assert (response.status_code, answer["status"]) == (200, "answered")
    assert "10 business days" in answer["text"]
    citation = answer["citations"][0]
    assert f"[{citation['marker']}]" in answer["text"]
    page = (await client.get(citation["url"])).json()
    start, end = page["highlight"]["start"], page["highlight"]["end"]
    assert page["text"][start:end] == citation["quote"]


async def test_stream_tells_the_same_story_as_the_answer_and_ends_with_done(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/ask", json={"question": QUESTION, "stream": True, "fresh": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = _events(response.text)
    names = [name for name, _ in events]
    answer = next(data for name, data in events if name == "answer")
    assert names[0] == "status"
    assert names[-2:] == ["answer", "done"]
    assert "".join(data["text"] for name, data in events if name == "sentence") == answer["text"]
    assert [data for name, data in events if name == "citation"] == answer["citations"]
    stages = [data["stage"] for name, data in events if name == "status"]
    assert stages == ["check", "rewrite", "retrieve", "decide", "generate", "verify"]


async def test_the_second_answer_is_the_first_one_unless_a_fresh_one_is_asked_for(client: httpx.AsyncClient) -> None:
    async def ask(**more: bool) -> dict[str, Any]:
        response = await client.post("/v1/ask", json={"question": f"Hi! {QUESTION}", **more})
        return dict(response.json())

    first = await ask()
    second, third = await ask(), await ask(fresh=True)
    assert (second["cached"], third["cached"]) == (True, False)
    assert first["text"] == second["text"] == third["text"]
    assert second["citations"] == third["citations"]


async def test_retrieve_event_shows_where_the_passages_stand(client: httpx.AsyncClient) -> None:
    events = _events((await client.post("/v1/ask", json={"question": QUESTION, "stream": True})).text)
    detail = next(data["detail"] for name, data in events if name == "status" and data["stage"] == "retrieve")
    assert {"document_id", "title", "section", "page", "page_label", "score"} <= set(detail["passages"][0])


async def test_question_that_the_documents_do_not_answer_is_refused_without_citations(
    client: httpx.AsyncClient,
) -> None:
    answer = (await client.post("/v1/ask", json={"question": "Who won the football world cup in 1954?"})).json()
    assert (answer["status"], answer["citations"]) == ("refused", [])
    assert answer["text"]


@pytest.mark.proves("AISVS 2.1.4", "PCI DSS 6.2.4")
@pytest.mark.parametrize("way", [{"stream": True}, {"stream": False}], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"question": ""}, "empty"),
        ({"question": " \n\t "}, "empty"),
        ({"question": "x" * 100_000}, "100,000 characters"),
        ({"question": "Fees?", "filters": {"collections": ["nowhere"]}}, "unknown collection 'nowhere'"),
        ({"question": "Fees?", "filters": {"document_ids": ["../etc"]}}, "filters.document_ids.0"),
        ({"question": "Fees?", "as_of": "yesterday"}, "as_of"),
        ({"question": "Fees?", "history": [{"role": "system", "content": "x"}]}, "history.0.role"),
        ({"question": "Fees?", "top_k": 3}, "top_k: is not known here"),
        ({"question": "nul \x00"}, "NUL"),
        ({}, "question"),
    ],
)
async def test_bad_question_gets_422_and_one_sentence(
    client: httpx.AsyncClient, body: dict[str, Any], told: str, way: dict[str, bool]
) -> None:
    response = await client.post("/v1/ask", json=body | way)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert told in response.json()["detail"]


async def test_lone_surrogate_is_a_bad_question_and_not_a_crash(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    response = await client.post("/v1/ask", content=b'{"question": "\\ud800 fees"}', headers=headers)
    assert response.status_code == 422


async def test_question_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/ask", content=b"question=fees", headers={"content-type": "text/plain"})
    assert response.status_code == 422


async def test_search_returns_passages_with_scores_best_first(client: httpx.AsyncClient) -> None:
    found = (await client.post("/v1/search", json={"query": "overdraft fee student account", "top_k": 3})).json()
    scores = [passage["score"] for passage in found["passages"]]
    assert found["passages"][0]["title"].lower().startswith("fees")
    assert scores == sorted(scores, reverse=True)
    assert found["snapshot"] >= 1


async def test_search_for_more_than_the_configured_number_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/search", json={"query": "fees", "top_k": 51})
    assert (response.status_code, "50" in response.json()["detail"]) == (422, True)


@pytest.mark.proves("LLM02", "ASVS 8.2.2")
async def test_nobody_without_the_label_finds_the_board_s_minutes(client: httpx.AsyncClient) -> None:
    found = await client.post("/v1/search", json={"query": "merger with the Harbour Bank", "top_k": 50})
    answer = await client.post("/v1/ask", json={"question": "When does the merger with the Harbour Bank close?"})
    assert "Harbour" not in found.text
    assert "March" not in answer.json()["text"]


async def test_unknown_parameters_and_routes_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/documents", params={"limt": 3})).status_code == 422
    assert (await client.post("/v1/ask?stream=1", json={"question": "x"})).status_code == 422
    assert (await client.get("/v1/unknown")).status_code == 404


async def test_answers_are_counted_by_status_and_requests_by_route_template(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await client.post("/v1/ask", json={"question": QUESTION})
    await client.get(f"/v1/documents/{'0' * 16}")
    text = (await client.get("/metrics")).text
    assert 'answers_total{status="answered"}' in text
    assert 'http_requests_total{method="GET",route="/v1/documents/{document_id}",status="404"}' in text
    assert "0" * 16 not in text
