"""The documents behind the citations, served from the UI's own host.

The browser never learns the API's address and never needs another origin. What may come through is a short list of
media types; everything else is a download without a type that a browser would run.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ui.client import ApiClient
from ui.errors import BackendError, SignInNeeded, SourceNotFound

DOCUMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,127}")
NUMBER = re.compile(r"[0-9]{1,9}")
PDF = "application/pdf"
HTML = "text/html"
# The page is the API's own rendering, yet its text comes from documents: it may show itself, and nothing else.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


def content_url(document_id: str) -> str:
    """Where the browser finds the original of a document."""
    return f"/documents/{document_id}/content"


def page_url(document_id: str, page: int, start: int, end: int) -> str:
    """Where the browser finds a page with a marked quote, as a page of its own."""
    return f"/documents/{document_id}/pages/{page}?start={start}&end={end}"


def document_routes(client: ApiClient) -> list[Route]:
    """Routes for originals and pages."""

    async def content(request: Request) -> Response:
        document_id = request.path_params["document_id"]
        if not DOCUMENT_ID.fullmatch(document_id):
            return _missing()
        return await _passed_on(client, f"/v1/documents/{document_id}/content", accept="*/*", params={})

    async def page(request: Request) -> Response:
        document_id, number = request.path_params["document_id"], request.path_params["number"]
        span = {name: request.query_params.get(name, "0") for name in ("start", "end")}
        if not DOCUMENT_ID.fullmatch(document_id) or not all(map(NUMBER.fullmatch, (number, *span.values()))):
            return _missing()
        params = {name: int(value) for name, value in span.items()}
        return await _passed_on(client, f"/v1/documents/{document_id}/pages/{number}", accept=HTML, params=params)

    return [
        Route("/documents/{document_id}/content", content, methods=["GET"]),
        Route("/documents/{document_id}/pages/{number}", page, methods=["GET"]),
    ]


async def _passed_on(client: ApiClient, path: str, *, accept: str, params: dict[str, int]) -> Response:
    stack = AsyncExitStack()
    try:
        source = await stack.enter_async_context(client.open(path, accept=accept, params=params))
    except SourceNotFound:
        return _missing()
    except SignInNeeded:
        return PlainTextResponse("Please sign in again to read this document.", status_code=401)
    except BackendError:
        return PlainTextResponse("The document cannot be read right now. Please try again.", status_code=502)
    return StreamingResponse(_body(stack, source), headers=_headers(source, accept))


async def _body(stack: AsyncExitStack, source: httpx.Response) -> AsyncIterator[bytes]:
    async with stack:
        async for block in source.aiter_bytes():
            yield block


def _headers(source: httpx.Response, accept: str) -> dict[str, str]:
    media_type = source.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    common = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
    if media_type == PDF:
        return common | {"Content-Type": PDF, "Content-Disposition": "inline"}
    if media_type == HTML and accept == HTML:
        return common | {"Content-Type": f"{HTML}; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
    return common | {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}


def _missing() -> Response:
    return PlainTextResponse("This document is not there, or may not be read.", status_code=404)
