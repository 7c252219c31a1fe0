"""What a person may do about themselves over HTTP: agree, take it back, and get everything that is kept about them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from bentos.opening import Opening
from rag.domain import Principal
from rag.governance.consent import Consents
from rag.governance.exporting import PersonalData
from rag.settings.consent import ConsentSettings

QUESTION = "Within how many business days must a bank determine whether an error occurred?"
TEXT = "Your questions are recorded under a pseudonym."


def asking_for(opening: Opening, version: str) -> PersonalData:
    """As if the configuration required consent to this version."""
    kept = opening.workspace().personal
    purposes = {"service": {"version": version, "text": TEXT}, "review": {"version": "1", "text": "People read along."}}
    settings = ConsentSettings.model_validate({"required": ["service"], "purposes": purposes})
    return replace(kept, consents=Consents(kept.database, settings, kept.receipts))


@pytest.fixture
def consent(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    workspace = opening.workspace()
    monkeypatch.setattr(workspace, "personal", asking_for(opening, "1"))
    required = workspace.settings.consent.model_copy(update={"required": ("service",)})
    monkeypatch.setattr(workspace, "settings", workspace.settings.model_copy(update={"consent": required}))
    yield
    opening.workspace().personal.consents.withdraw(opening.workspace().principal(), "service")


def states(response: httpx.Response) -> dict[str, str]:
    return {each["purpose"]: each["state"] for each in response.json()["consents"]}


@pytest.mark.proves("GDPR 7(3)", "SOC 2 P2.1")
@pytest.mark.usefixtures("consent")
async def test_nothing_is_answered_before_consent_nor_after_it_was_withdrawn(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/ask", json={"question": QUESTION})
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:banksight:problem:consent_required")
    assert refused.json()["errors"] == [{"field": "service", "message": f"version 1: {TEXT}"}]

    given = await client.post("/v1/me/consent", json={"purpose": "service", "version": "1"})
    assert states(given) == {"service": "given", "review": "missing"}
    assert (await client.post("/v1/ask", json={"question": QUESTION})).status_code == 200

    withdrawn = await client.delete("/v1/me/consent", params={"purpose": "service"})
    assert states(withdrawn)["service"] == "withdrawn"
    assert (await client.post("/v1/ask", json={"question": QUESTION})).status_code == 403


@pytest.mark.usefixtures("consent")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/search", {"query": QUESTION}),
        ("/v1/chat/completions", {"model": "banksight", "messages": [{"role": "user", "content": QUESTION}]}),
        ("/v1/ask", {"question": QUESTION, "stream": True}),
    ],
)
async def test_every_way_to_ask_needs_consent(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    assert (await client.post(path, json=body)).status_code == 403


@pytest.mark.proves("GDPR 7(1)")
@pytest.mark.usefixtures("consent")
async def test_a_new_text_asks_again_and_an_old_one_cannot_be_agreed_to(
    client: httpx.AsyncClient, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post("/v1/me/consent", json={"purpose": "service", "version": "1"})
    monkeypatch.setattr(opening.workspace(), "personal", asking_for(opening, "2"))
    assert states(await client.get("/v1/me/consent"))["service"] == "outdated"
    assert (await client.post("/v1/ask", json={"question": QUESTION})).status_code == 403
    again = await client.post("/v1/me/consent", json={"purpose": "service", "version": "1"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:banksight:problem:consent_outdated")


@pytest.mark.proves("GDPR 7(3)", "GDPR 17")
@pytest.mark.usefixtures("consent")
async def test_what_was_asked_cannot_be_read_after_consent_was_withdrawn(
    client: httpx.AsyncClient, opening: Opening
) -> None:
    await client.post("/v1/me/consent", json={"purpose": "service", "version": "1"})
    receipt = (await client.post("/v1/ask", json={"question": QUESTION})).json()["receipt_id"]
    receipts = opening.workspace().receipts
    (asked, _) = receipts.find(receipt)
    key = receipts.subjects.by_pseudonym(asked.who)
    assert key
    assert key.unseal(asked.body["sealed"], receipt)
    await client.delete("/v1/me/consent", params={"purpose": "service"})
    assert receipts.subjects.by_pseudonym(asked.who) is None


async def test_an_unknown_purpose_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/me/consent", json={"purpose": "marketing", "version": "1"})
    assert (response.status_code, response.json()["type"]) == (422, "urn:banksight:problem:invalid_question")


@pytest.mark.proves("GDPR 15", "GDPR 20", "SOC 2 P5.1")
async def test_the_export_holds_what_was_asked_and_nothing_of_others(
    client: httpx.AsyncClient, opening: Opening
) -> None:
    receipts = opening.workspace().receipts
    receipts.record("question", Principal("somebody-else"), hidden={"question": "quixotic"})
    mine = f"{QUESTION} And the marmalade?"
    await client.post("/v1/ask", json={"question": mine})
    response = await client.get("/v1/me/export")
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        text = archive.read("export.json").decode()
    content = json.loads(text)
    assert content["person"]["subject"] == opening.workspace().principal().subject
    assert mine in [each.get("question") for each in content["records"]]
    assert "quixotic" not in text


async def test_the_export_is_recorded(client: httpx.AsyncClient, opening: Opening) -> None:
    await client.get("/v1/me/export")
    last = max(opening.settings.audit_dir.glob("*/*.jsonl")).read_bytes().splitlines()[-1]
    record = json.loads(last)["record"]
    assert (record["kind"], record["body"]["of"]) == ("export", "person")
