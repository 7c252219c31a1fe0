"""`DELETE /v1/me`: a person is erased, and nobody by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bentos.application import create_app
from bentos.opening import Opening
from rag.domain import Principal
from rag.governance.erasure_certificate import is_genuine
from rag.settings import load_settings

QUESTION = "Within how many business days must a bank determine whether an error occurred?"


class SignedIn:
    """Everybody who calls is this person."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def principal(self, authorization: str | None) -> Principal:
        return self._principal

    async def sign_out(self, authorization: str | None) -> None:
        return None

    def close(self) -> None:
        return None


@pytest.fixture
def as_person(opening: Opening) -> Any:
    """`as_person("ada", "analyst")`: a caller with this subject and role, over the workspace of all tests here."""
    signing_in = load_settings("test", environment={}, overrides={"identity": {"mode": "api_key"}}).identity
    settings = opening.settings.model_copy(update={"identity": signing_in})

    def make(subject: str, role: str) -> httpx.AsyncClient:
        principal = Principal(subject, roles=frozenset({role}))
        workspace = replace(opening.workspace(), settings=settings, authentication=SignedIn(principal))
        app: FastAPI = create_app(Opening(settings, lambda: (workspace, opening.jobs())).start().wait())
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    return make


@pytest.fixture
def uploaded(opening: Opening) -> Iterator[str]:
    """A document that `ada.lovelace` uploaded."""
    workspace = opening.workspace()
    stored = workspace.add_upload("ada.txt", b"The engine weaves numbers.\n", principal=Principal("ada.lovelace"))
    workspace.ingest(["uploads"])
    return stored.id


async def test_a_person_is_erased_and_gets_a_certificate(as_person: Any, uploaded: str, opening: Opening) -> None:
    async with as_person("ada.lovelace", "analyst") as ada:
        answer = (await ada.post("/v1/ask", json={"question": QUESTION})).json()
        response = await ada.delete("/v1/me", params={"confirm": "ada.lovelace"})
        body = response.json()
        assert response.status_code in (200, 202), body
        for _ in range(300):  # a busy machine
            if body["certificate"] or opening.jobs().latest(1)[0].state == "failed":
                break
            await asyncio.sleep(0.2)
            async with as_person("anybody", "auditor") as auditor:
                body = (await auditor.get(f"/v1/erasures/{body['id']}")).json()
        assert (await ada.get(f"/v1/documents/{uploaded}")).status_code == 404
    told = body["certificate"]
    assert told["outcome"] == "erased"
    assert told["erased"]["uploads"]["documents"] == 1
    workspace = opening.workspace()
    assert is_genuine(told, workspace.receipts.subjects.keys.public)
    assert workspace.receipts.subjects.pseudonym_of("default", "ada.lovelace") is None
    assert workspace.receipts.find(answer["receipt_id"])
    async with as_person("anybody", "auditor") as auditor:
        assert (await auditor.get(f"/v1/erasures/{body['id']}")).json() == body
        assert (await auditor.get(f"/v1/erasures/{'0' * 32}")).status_code == 404


async def test_nobody_is_erased_without_saying_their_own_name(as_person: Any, opening: Opening) -> None:
    async with as_person("grace", "user") as grace:
        assert (await grace.delete("/v1/me")).status_code == 422
        refused = await grace.delete("/v1/me", params={"confirm": "ada"})
    assert refused.status_code == 422
    assert "nothing was erased" in refused.json()["detail"]
    assert opening.workspace().personal.erasures.pending() == []


async def test_a_question_with_a_card_is_answered_without_it_and_says_so(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/ask", json={"question": f"{QUESTION} My card is 4111 1111 1111 1111."})).json()
    assert "card number was taken out" in answer["notice"]
    assert "4111" not in str(answer)
    found = (await client.post("/v1/search", json={"query": "lost card 4111 1111 1111 1111"})).json()
    assert "card number was taken out" in found["notice"]
