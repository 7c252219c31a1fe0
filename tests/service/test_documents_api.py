"""Documents over HTTP: listing, uploads, pages, originals, deletion, jobs."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from rag.settings import Settings

TEXT = b"The new notary fee is 120 euros. It is due when the deed is signed.\n"


async def _upload(client: httpx.AsyncClient, name: str, content: bytes, **data: Any) -> httpx.Response:
    return await client.post("/v1/documents", files={"file": (name, content)}, data=data)


async def _finished(client: httpx.AsyncClient, response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    while True:
        job: dict[str, Any] = (await client.get(response.headers["location"])).json()
        if job["finished_at"]:
            return job
        await asyncio.sleep(0.02)


async def _by_title(client: httpx.AsyncClient, title: str) -> dict[str, Any]:
    listed = (await client.get("/v1/documents", params={"limit": 500})).json()["documents"]
    found: dict[str, Any] = next(each for each in listed if title in each["title"].lower())
    return found


async def test_uploaded_document_can_be_searched_when_its_job_has_succeeded(client: httpx.AsyncClient) -> None:
    job = await _finished(client, await _upload(client, "notary.txt", TEXT, title="Notary fees"))
    assert (job["state"], job["error"]) == ("succeeded", None)
    assert [each["outcome"] for each in job["outcomes"]] == ["added"]
    document = (await client.get(f"/v1/documents/{job['document_id']}")).json()
    found = (await client.post("/v1/search", json={"query": "notary fee due when signed"})).json()
    assert (document["title"], document["state"]) == ("Notary fees", "indexed")
    assert job["document_id"] in [each["document_id"] for each in found["passages"]]


async def test_same_name_again_is_a_new_version_of_that_document(client: httpx.AsyncClient) -> None:
    first = await _finished(client, await _upload(client, "rates.txt", b"The rate is 3.1 percent a year.\n"))
    second = await _finished(client, await _upload(client, "rates.txt", b"The rate is 4.7 percent a year.\n"))
    page = (await client.get(f"/v1/documents/{first['document_id']}/pages/1")).json()
    assert second["document_id"] == first["document_id"]
    assert second["outcomes"][0]["outcome"] == "updated"
    assert "4.7" in page["text"]


async def test_deleted_upload_is_gone_from_the_listing_and_from_search(client: httpx.AsyncClient) -> None:
    job = await _finished(client, await _upload(client, "short-lived.txt", b"The zebra campaign ends on Friday.\n"))
    gone = await client.delete(f"/v1/documents/{job['document_id']}")
    found = (await client.post("/v1/search", json={"query": "zebra campaign"})).json()
    assert (gone.status_code, gone.json()["outcome"]) == (200, "deleted")
    assert "zebra" not in str(found)
    assert (await client.get(f"/v1/documents/{job['document_id']}")).status_code == 404


async def test_deletion_during_an_ingestion_says_when_to_try_again(client: httpx.AsyncClient, opening: Any) -> None:
    document = await _by_title(client, "opening")
    with opening.workspace().writing:
        response = await client.delete(f"/v1/documents/{document['id']}")
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")
    assert (await client.get(f"/v1/documents/{document['id']}")).json()["state"] == "indexed"


def _bomb() -> bytes:
    """A DOCX whose one part unpacks to 200 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"0" * 200_000_000)
    return buffer.getvalue()


@pytest.mark.proves("ASVS 5.2.2", "ASVS 5.3.2")
@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("empty.txt", b"", 422),
        ("picture.pdf", b"\x89PNG\r\n\x1a\n" + b"\x00" * 64, 415),
        ("program.txt", b"MZ\x90\x00" + bytes(range(256)) * 8, 415),
        ("page.exe", b"hello", 415),
        ("large.txt", b"x" * 200_001, 413),
        ("../../etc/cron.d/evil.txt", TEXT, 422),
        ("..\\..\\evil.txt", TEXT, 422),
        ("/etc/passwd.txt", TEXT, 422),
        (".hidden.txt", TEXT, 422),
        ("a" * 300 + ".txt", TEXT, 422),
        ("invoice\u202etxt.exe.txt", TEXT, 422),
        ("labels.meta.yaml", b"access: []\n", 422),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
async def test_hostile_upload_is_refused_with_a_sentence_and_leaves_nothing(
    client: httpx.AsyncClient, service_settings: Settings, name: str, content: bytes, status: int
) -> None:
    before = sorted(path for path in service_settings.data_dir.rglob("*") if "uploads" in path.parts)
    response = await _upload(client, name, content)
    after = sorted(path for path in service_settings.data_dir.rglob("*") if "uploads" in path.parts)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.json()["detail"]) > 10
    assert after == before


async def test_nul_in_a_file_name_is_refused(client: httpx.AsyncClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a\x00.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nhello world\r\n--b--\r\n"
    )
    response = await client.post(
        "/v1/documents", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert response.status_code in (400, 422)


@pytest.mark.proves("ASVS 5.2.3")
async def test_bomb_is_refused_before_or_by_its_job(client: httpx.AsyncClient) -> None:
    response = await _upload(client, "bomb.docx", _bomb())
    if response.status_code == 202:
        job = await _finished(client, response)
        assert job["state"] == "failed"
        assert job["error"]
    else:
        assert response.status_code in (413, 415, 422)


async def test_encrypted_pdf_ends_its_job_with_the_reason(client: httpx.AsyncClient) -> None:
    buffer = io.BytesIO()
    page = Canvas(buffer, encrypt=StandardEncryption("secret", ownerPassword="owner"))
    page.drawString(100, 700, "Nobody may read this.")
    page.save()
    response = await _upload(client, "locked.pdf", buffer.getvalue())
    if response.status_code == 202:
        job = await _finished(client, response)
        document = (await client.get(f"/v1/documents/{job['document_id']}")).json()
        assert (job["state"], document["state"], document["reason"]) == ("failed", "failed", "encrypted")
        assert job["error"] == document["message"]
        assert (await client.delete(f"/v1/documents/{job['document_id']}")).status_code == 200
    else:
        assert response.status_code == 422
        assert "encrypted" in response.json()["detail"]


@pytest.mark.proves("LLM10", "ASVS 5.2.1")
async def test_endless_upload_is_stopped_at_the_limit(client: httpx.AsyncClient, service_settings: Settings) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        while sent < 50_000_000:
            sent += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await client.post("/v1/documents", content=endless(), headers=headers)
    assert response.status_code == 413
    assert sent <= service_settings.server.max_upload_bytes + 100_000


@pytest.mark.parametrize(
    "data",
    [
        {"collection": "no-such-collection"},
        {"collection": "../up"},
        {"access": "board"},
        {"effective_from": "2026-05-01", "effective_to": "2026-04-01"},
        {"effective_from": "soon"},
        {"colour": "red"},
        {"title": "x" * 301},
    ],
    ids=str,
)
async def test_what_is_said_about_an_upload_is_checked(client: httpx.AsyncClient, data: dict[str, str]) -> None:
    response = await _upload(client, "checked.txt", TEXT, **data)
    assert response.status_code == 422
    assert response.json()["detail"]


async def test_upload_without_a_file_or_with_two_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/documents", data={"title": "x"})).status_code == 422
    assert (await client.post("/v1/documents", content=b"x", headers={"content-type": "text/plain"})).status_code == 422


async def test_listing_is_paged_without_gaps_or_repeats(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/v1/documents", params={"limit": 500})).json()["documents"]
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        part = (await client.get("/v1/documents", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += part["documents"]
        cursor = part["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    assert len(whole) >= 4


async def test_listing_can_be_narrowed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/documents", params={"collection": "regulations", "state": "indexed"})).json()
    assert {each["collection"] for each in listed["documents"]} == {"regulations"}
    assert (await client.get("/v1/documents", params={"state": "lost"})).status_code == 422
    assert (await client.get("/v1/documents", params={"cursor": "%%%"})).status_code == 422


@pytest.mark.proves("LLM02", "ASVS 8.2.2")
async def test_what_may_not_be_read_looks_like_what_is_not_there(client: httpx.AsyncClient, opening: Any) -> None:
    board = next(each for each in opening.workspace().registry.documents() if "board" in each.uri)
    listed = (await client.get("/v1/documents", params={"limit": 500})).text
    assert board.id not in listed
    for path in ("", "/pages/1", "/content"):
        hidden = await client.get(f"/v1/documents/{board.id}{path}")
        absent = await client.get(f"/v1/documents/{'0' * 16}{path}")
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert hidden.json()["detail"].replace(board.id, "X") == absent.json()["detail"].replace("0" * 16, "X")
    assert (await client.delete(f"/v1/documents/{board.id}")).status_code == 404
    assert any(each.id == board.id for each in opening.workspace().registry.documents())


async def test_page_is_json_for_programs_and_html_for_browsers(client: httpx.AsyncClient) -> None:
    document = await _by_title(client, "electronic")
    path = f"/v1/documents/{document['id']}/pages/1"
    page = (await client.get(path)).json()
    start = page["text"].index("10 business days")
    params = {"start": start, "end": start + len("10 business days")}
    html = await client.get(path, params=params, headers={"accept": "text/html,*/*;q=0.8"})
    assert page["highlight"] is None
    assert (page["page"], page["pages"], page["document_id"]) == (1, document["pages"], document["id"])
    assert html.headers["content-type"].startswith("text/html")
    assert '<mark id="quote">10 business days</mark>' in html.text
    assert "default-src 'none'" in html.headers["content-security-policy"]


@pytest.mark.parametrize("params", [{"start": 1}, {"end": 1}, {"start": 5, "end": 4}, {"start": 0, "end": 10**6}])
async def test_offsets_that_fit_no_quote_are_refused(client: httpx.AsyncClient, params: dict[str, int]) -> None:
    document = await _by_title(client, "electronic")
    response = await client.get(f"/v1/documents/{document['id']}/pages/1", params=params)
    assert response.status_code == 422


@pytest.mark.parametrize("page", ["0", "-1", "99", "one", "1e3"])
async def test_page_that_is_not_there_is_not_found_or_refused(client: httpx.AsyncClient, page: str) -> None:
    document = await _by_title(client, "electronic")
    response = await client.get(f"/v1/documents/{document['id']}/pages/{page}")
    assert response.status_code == (404 if page == "99" else 422)


@pytest.mark.proves("ASVS 5.3.1", "ASVS 5.4.1")
async def test_original_comes_back_byte_for_byte_and_html_only_as_a_download(client: httpx.AsyncClient) -> None:
    text, html = await _by_title(client, "opening"), await _by_title(client, "card")
    shown = await client.get(f"/v1/documents/{text['id']}/content")
    offered = await client.get(f"/v1/documents/{html['id']}/content")
    assert shown.content.startswith(b"Branches open at 9:00")
    assert shown.headers["content-disposition"].startswith("inline")
    assert offered.headers["content-disposition"].startswith("attachment")
    assert offered.headers["content-type"] == "application/octet-stream"
    assert {shown.headers["x-content-type-options"], offered.headers["x-content-type-options"]} == {"nosniff"}


async def test_ingestion_of_a_source_is_a_job(client: httpx.AsyncClient) -> None:
    job = await _finished(client, await client.post("/v1/jobs", json={"kind": "ingest", "sources": ["rules"]}))
    listed = (await client.get("/v1/jobs")).json()["jobs"]
    assert (job["state"], job["outcomes"]) == ("succeeded", [])
    assert set(job["report"]["counts"]) == {"unchanged"}
    assert job["id"] in [each["id"] for each in listed]


@pytest.mark.parametrize("body", [{}, {"kind": "dance"}, {"kind": "ingest", "sources": []}, {"kind": "ingest", "x": 1}])
async def test_bad_job_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/v1/jobs", json=body)).status_code == 422


async def test_unknown_source_and_unknown_job_are_named(client: httpx.AsyncClient) -> None:
    source = await client.post("/v1/jobs", json={"kind": "ingest", "sources": ["nowhere"]})
    assert (source.status_code, "nowhere" in source.json()["detail"], "rules" in source.json()["detail"]) == (
        422, True, True,
    )  # fmt: skip
    assert (await client.get(f"/v1/jobs/{'0' * 32}")).status_code == 404
    assert (await client.delete(f"/v1/jobs/{'0' * 32}")).status_code == 404
    assert (await client.get("/v1/jobs/not-an-id")).status_code == 422
