"""The routes by which the browser gets documents: what they let through, and how."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette

from ui.client import ApiClient
from ui.documents import document_routes
from ui.settings import UiSettings


async def fetched(path: str, api: Callable[[httpx.Request], httpx.Response]) -> httpx.Response:
    client = ApiClient(UiSettings(), httpx.MockTransport(api))
    transport = httpx.ASGITransport(Starlette(routes=list(document_routes(client))))
    async with httpx.AsyncClient(transport=transport, base_url="http://ui") as browser:
        return await browser.get(path)


def served(media_type: str, body: bytes = b"body") -> Callable[[httpx.Request], httpx.Response]:
    headers = {"Content-Type": media_type, "Set-Cookie": "api=1", "X-Internal": "host-7"}
    return lambda _: httpx.Response(200, headers=headers, content=body)


def unreachable(_: httpx.Request) -> httpx.Response:
    pytest.fail("the API must not be asked")


@pytest.mark.proves("ASVS 14.3.2")
async def test_a_pdf_is_shown_inline_and_not_stored() -> None:
    response = await fetched("/documents/0a1b/content", served("application/pdf", b"%PDF-1.7"))
    assert response.content == b"%PDF-1.7"
    assert response.headers["content-type"] == "application/pdf"
    assert response.headers["content-disposition"] == "inline"
    assert response.headers["cache-control"] == "private, no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_nothing_else_of_the_api_comes_through() -> None:
    response = await fetched("/documents/0a1b/content", served("application/pdf"))
    assert not {"set-cookie", "x-internal"} & set(response.headers)


@pytest.mark.parametrize(
    "media_type", ["text/html", "image/svg+xml", "application/javascript", "", "Text/HTML; charset=x"]
)
async def test_what_a_browser_could_run_becomes_a_download(media_type: str) -> None:
    response = await fetched("/documents/0a1b/content", served(media_type, b"<script>alert(1)</script>"))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment"


async def test_a_page_is_html_in_a_sandbox() -> None:
    def api(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept"] == "text/html"
        assert request.url.params.multi_items() == [("start", "3"), ("end", "9")]
        return httpx.Response(200, headers={"Content-Type": "text/html; charset=utf-8"}, content="<p>€")

    response = await fetched("/documents/0a1b/pages/2?start=3&end=9", api)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].endswith("sandbox")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.text == "<p>€"


@pytest.mark.parametrize(
    "path",
    [
        "/documents/..%2f..%2fv1/content",
        "/documents/%2e%2e/content",
        "/documents/a.b/content",
        "/documents/a%3fx/content",
        f"/documents/{'a' * 129}/content",
        "/documents/0a1b/pages/x",
        "/documents/0a1b/pages/1?start=-1",
        "/documents/0a1b/pages/1?end=1;2",
        "/documents/0a1b/pages/1?end=99999999999",
        "/documents/0a1b/pages/%D9%A3",
    ],
)
async def test_addresses_that_are_not_ours_never_reach_the_api(path: str) -> None:
    assert (await fetched(path, unreachable)).status_code == 404


async def test_missing_documents_and_a_failing_api_are_told_apart_without_details() -> None:
    missing = await fetched("/documents/0a1b/content", lambda _: httpx.Response(404, json={"detail": "secret"}))
    assert (missing.status_code, missing.text) == (404, "This document is not there, or may not be read.")
    failing = await fetched("/documents/0a1b/content", lambda _: httpx.Response(500, json={"detail": "secret"}))
    assert (failing.status_code, failing.text) == (502, "The document cannot be read right now. Please try again.")
