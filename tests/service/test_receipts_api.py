"""Receipts over HTTP: every way to ask has one, an auditor reads it, and without one nothing is answered."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from bentos.opening import Opening

QUESTION = "Within how many business days must a bank determine whether an error occurred?"


async def test_an_auditor_reads_what_was_recorded_of_an_answer(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/ask", json={"question": QUESTION})).json()
    receipt = (await client.get(f"/v1/receipts/{answer['receipt_id']}")).json()
    asked, given = receipt["records"]
    assert (asked["kind"], given["kind"]) == ("question", "answer")
    assert given["body"]["answer_id"] == answer["id"]
    assert asked["who"] == given["who"] != "local"
    assert "business" not in json.dumps(receipt)


async def test_a_streamed_answer_names_its_receipt_too(client: httpx.AsyncClient) -> None:
    text = (await client.post("/v1/ask", json={"question": QUESTION, "stream": True})).text
    (answer,) = [
        json.loads(each[6:]) for each in text.splitlines() if each.startswith("data: ") and "receipt_id" in each
    ]
    assert (await client.get(f"/v1/receipts/{answer['receipt_id']}")).status_code == 200


async def test_looking_at_a_receipt_is_recorded(client: httpx.AsyncClient, opening: Opening) -> None:
    answer = (await client.post("/v1/ask", json={"question": QUESTION})).json()
    await client.get(f"/v1/receipts/{answer['receipt_id']}")
    folder = opening.settings.audit_dir
    last = max(folder.glob("*/*.jsonl")).read_bytes().splitlines()[-1]
    record = json.loads(last)["record"]
    assert (record["kind"], record["body"]["receipt"]) == ("export", answer["receipt_id"])


async def test_an_unknown_receipt_is_404(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/receipts/{'0' * 8}-20260101-{'0' * 16}")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ask", {"question": QUESTION}),
        ("/v1/ask", {"question": QUESTION, "stream": True}),
        ("/v1/chat/completions", {"model": "banksight", "messages": [{"role": "user", "content": QUESTION}]}),
    ],
)
async def test_what_cannot_be_recorded_is_not_answered(
    client: httpx.AsyncClient, opening: Opening, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opening.workspace().receipts.writer._files, "append", full)
    response = await client.post(path, json=body)
    assert response.status_code == 503
    assert "cannot be recorded" in response.text
    assert "10 business days" not in response.text
