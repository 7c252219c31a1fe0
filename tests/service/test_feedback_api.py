"""Judging answers over HTTP: one's own only, and the comment is nobody's to read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bentos.opening import Opening
from rag.domain import Principal
from rag.query.events import AskRequest

QUESTION = "Within how many business days must a bank determine whether an error occurred?"


async def test_a_judgement_of_an_own_answer_is_recorded_with_its_comment_sealed(
    client: httpx.AsyncClient, opening: Opening
) -> None:
    answer = (await client.post("/v1/ask", json={"question": QUESTION})).json()
    said = {"receipt_id": answer["receipt_id"], "value": "down", "reason": "wrong_source", "comment": "page seven"}
    assert (await client.post("/v1/feedback", json=said)).status_code == 204
    last = max(opening.settings.audit_dir.glob("*/*.jsonl")).read_bytes().splitlines()[-1]
    record = json.loads(last)["record"]
    assert (record["kind"], record["body"]["answer"]) == ("feedback", answer["receipt_id"])
    assert (record["body"]["value"], record["body"]["reason"]) == ("down", "wrong_source")
    assert b"page seven" not in last


async def test_the_answer_of_another_person_looks_absent(client: httpx.AsyncClient, opening: Opening) -> None:
    theirs = await opening.workspace().answers.ask(AskRequest(QUESTION), Principal("eve", "bank"))
    said = {"receipt_id": theirs.receipt_id, "value": "up"}
    refused = await client.post("/v1/feedback", json=said)
    unknown = await client.post("/v1/feedback", json={**said, "receipt_id": f"{'0' * 8}-20260101-{'0' * 16}"})
    assert (refused.status_code, unknown.status_code) == (404, 404)


async def test_an_answer_judged_wrong_is_not_given_again_from_what_was_kept(client: httpx.AsyncClient) -> None:
    asked = {"question": "For what amount is a consumer liable who gives notice within two business days?"}

    async def ask() -> dict[str, Any]:
        answer: dict[str, Any] = (await client.post("/v1/ask", json=asked)).json()
        return answer

    await ask()
    kept = await ask()
    assert kept["cached"]
    for value, cached in (("up", True), ("down", False)):
        await client.post("/v1/feedback", json={"receipt_id": kept["receipt_id"], "value": value})
        assert (await ask())["cached"] is cached
    assert not (await ask())["cached"], "nor is it kept again"


@pytest.mark.parametrize("change", [{"value": "2"}, {"receipt_id": "x"}, {"comment": "x" * 2001}, {"mood": "good"}])
async def test_what_is_no_judgement_is_refused(client: httpx.AsyncClient, change: dict[str, str]) -> None:
    said = {"receipt_id": f"{'0' * 8}-20260101-{'0' * 16}", "value": "up", **change}
    assert (await client.post("/v1/feedback", json=said)).status_code == 422
