"""A scripted API, the real UI as a process, and Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright
from reportlab.lib.pagesizes import letter
from reportlab.pdfgen.canvas import Canvas
from starlette.applications import Starlette
from starlette.requests import Request as ApiRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route as ApiRoute

from rag.errors import NotSignedIn
from rag.governance.tokens import TokenVerifier

CHROMIUM = os.environ.get("BANKSIGHT_CHROMIUM", "/usr/bin/chromium")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
PROJECT = Path(__file__).resolve().parents[2]
Script = Callable[["ScriptedApi", dict[str, Any]], AsyncIterator[tuple[str, Any]]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class ScriptedDocument:
    """A document of the scripted API: its pages of text, and the bytes that a browser gets."""

    title: str
    media_type: str
    pages: list[str]
    content: bytes


@dataclass
class ScriptedApi:
    """Speaks the wire contract. `scripts` maps a part of a question to what the API says, `""` is for all others."""

    documents: dict[str, ScriptedDocument]
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    callers: dict[str, str] = field(default_factory=dict)  # the Authorization header by question
    judged: list[dict[str, Any]] = field(default_factory=list)
    verifier: TokenVerifier | None = None  # of access tokens: the product's own
    ended: list[str] = field(default_factory=list)  # what was signed out
    url: str = ""

    def citation(self, marker: int, document_id: str, page: int, quote: str, section: str = "") -> dict[str, Any]:
        document = self.documents[document_id]
        start = document.pages[page - 1].index(quote)
        url = f"/v1/documents/{document_id}/pages/{page}?start={start}&end={start + len(quote)}"
        return {
            "marker": marker,
            "document_id": document_id,
            "title": document.title,
            "section": section,
            "page": page,
            "page_label": "",
            "start": start,
            "end": start + len(quote),
            "quote": quote,
            "url": url,
        }

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                ApiRoute("/v1/ask", self._ask, methods=["POST"]),
                ApiRoute("/v1/documents/{id}/content", self._content),
                ApiRoute("/v1/documents/{id}/pages/{page:int}", self._page),
                ApiRoute("/v1/me", self._me),
                ApiRoute("/v1/logout", self._logout, methods=["POST"]),
                ApiRoute("/v1/feedback", self._feedback, methods=["POST"]),
                ApiRoute("/livez", lambda _: JSONResponse({})),
            ]
        )

    async def _ask(self, request: ApiRequest) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.callers[body["question"]] = request.headers.get("authorization", "")
        name = max((part for part in self.scripts if part in body["question"]), key=len)
        events = self.scripts[name](self, body)
        first = await anext(events)
        if first[0] == "http":
            return JSONResponse(first[1], status_code=first[1]["status"], media_type="application/problem+json")
        return StreamingResponse(self._frames(body["question"], first, events), media_type="text/event-stream")

    async def _frames(self, question: str, first: Any, events: AsyncIterator[tuple[str, Any]]) -> AsyncIterator[str]:
        try:
            yield _frame(*first)
            async for name, data in events:
                yield _frame(name, data)
            self.finished.append(question)
        except asyncio.CancelledError:
            self.cut_off.append(question)
            raise

    async def _me(self, request: ApiRequest) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            subject = key[4:] if key.startswith("bsk_") or self.verifier is None else await self._subject(key)
        except NotSignedIn:
            subject = ""
        if not subject or not key.startswith(("bsk_", "ey")):
            return JSONResponse({"title": "Unauthorized", "status": 401}, status_code=401)
        return JSONResponse({"subject": subject, "tenant": "bank", "roles": ["user"], "clearances": []})

    async def _subject(self, token: str) -> str:
        assert self.verifier is not None
        return (await self.verifier.verify(token)).principal.subject

    async def _logout(self, request: ApiRequest) -> Response:
        self.ended.append(request.headers.get("authorization", "").removeprefix("Bearer "))
        return Response(status_code=204)

    async def _feedback(self, request: ApiRequest) -> Response:
        self.judged.append(await request.json())
        return Response(status_code=204)

    async def _content(self, request: ApiRequest) -> Response:
        document = self.documents.get(request.path_params["id"])
        if document is None:
            return JSONResponse({"title": "Not found", "status": 404}, status_code=404)
        return Response(document.content, media_type=document.media_type)

    async def _page(self, request: ApiRequest) -> Response:
        document, number = self.documents.get(request.path_params["id"]), request.path_params["page"]
        if document is None or not 1 <= number <= len(document.pages):
            return JSONResponse({"title": "Not found", "status": 404}, status_code=404)
        start, end = int(request.query_params.get("start", 0)), int(request.query_params.get("end", 0))
        text = document.pages[number - 1]
        if "text/html" in request.headers.get("accept", ""):
            marked = f"{text[:start]}<mark>{text[start:end]}</mark>{text[end:]}"
            return Response(f"<!doctype html><title>Page</title><p>{marked}</p>", media_type="text/html")
        return JSONResponse(
            {
                "document_id": request.path_params["id"],
                "title": document.title,
                "media_type": document.media_type,
                "page": number,
                "page_label": "",
                "pages": len(document.pages),
                "text": text,
                "highlight": {"start": start, "end": end},
            }
        )


def _frame(name: str, data: Any) -> str:
    return ": keep-alive\n\n" if name == "comment" else f"event: {name}\ndata: {json.dumps(data)}\n\n"


def pdf_of(pages: list[str]) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=letter)
    for number, text in enumerate(pages, start=1):
        canvas.setFont("Helvetica-Bold", 13)
        canvas.drawString(72, 730, f"Page {number}")
        canvas.setFont("Helvetica", 11)
        for line, words in enumerate(text.split("\n")):
            canvas.drawString(72, 700 - 16 * line, words)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@contextmanager
def serving(application: Starlette, port: int) -> Iterator[None]:
    """A uvicorn server in a thread."""
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield
    server.should_exit = server.force_exit = True
    thread.join(10)


def start_ui(api_url: str, folder: Path, port: int, **more: str) -> subprocess.Popen[bytes]:
    """The UI as people start it, in a folder of its own."""
    command = [sys.executable, "-c", "from ui.commands import ui; ui()", "--port", str(port), "--api", api_url]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BANKSIGHT", "CHAINLIT"))}
    environment |= {"BANKSIGHT_DATA_DIR": str(folder), "PYTHONPATH": str(PROJECT)}
    environment |= {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "BANKSIGHT_UI_CONNECT_SECONDS": "2"}
    environment |= more
    child = subprocess.Popen(command, cwd=folder, env=environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success:
                return child
        time.sleep(0.2)
    child.terminate()
    raise AssertionError("the UI did not start")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Not for the whole session: while Playwright runs, its event loop would be in the way of async tests."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, with everything that it asked of other hosts and every error that it had."""

    page: Page
    url: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def home(self) -> Page:
        self.page.goto(self.url)
        self.page.wait_for_selector("#chat-input")
        return self.page

    def ask(self, question: str) -> None:
        self.page.click("#chat-input")
        self.page.keyboard.insert_text(question)
        self.page.click("#chat-submit")


def visit(context: BrowserContext, url: str) -> Visit:
    seen = Visit(context.new_page(), url)

    def note_request(request: Request) -> None:
        if not request.url.startswith((url, url.replace("http", "ws", 1), "data:", "blob:")):
            seen.foreign.append(request.url)

    def note_console(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "CORS" in message.text:
            seen.errors.append(message.text)

    seen.page.on("request", note_request)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("console", note_console)
    seen.page.set_default_timeout(15_000)
    return seen


REGULATION = """§ 1005.11 Procedures for resolving errors.
(c) Time limits and extent of investigation.
(1) Ten-day period. A financial institution shall investigate promptly and, except as otherwise provided in this \
paragraph (c), shall determine whether an error occurred within 10 business days of receiving a notice of error.
(2) Forty-five day period. If the financial institution is unable to complete its investigation within 10 business \
days, the institution may take up to 45 days from receipt of a notice of error to investigate. See https://example.org/a.
| Period | Limit |
# Not a heading, *not* bold, ![no](https://example.org/picture.png)"""
TEN_DAYS = "shall determine whether an error occurred within 10 business days of receiving a notice of error."
FILING = [
    "Apple Inc.\nForm 10-Q\nFor the quarterly period ended April 1, 2023",
    "Table of contents",
    "Statements of operations\nTotal net sales for the quarter were $94,836 million, compared with\n"
    "$97,278 million a year before.\nServices net sales were $20,907 million.",
    "Notes",
]
NET_SALES = "Total net sales for the quarter were $94,836 million, compared with\n$97,278 million a year before."


def sample_documents() -> dict[str, ScriptedDocument]:
    return {
        "5e8ca73d0f2b4419": ScriptedDocument("Regulation E", "text/markdown", [REGULATION], REGULATION.encode()),
        "0a1b2c3d4e5f6071": ScriptedDocument("2023 Q2 AAPL.pdf", "application/pdf", FILING, pdf_of(FILING)),
    }


async def answered(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    """An answer from both documents, with a heartbeat and an event of the future in between."""
    rule = api.citation(1, "5e8ca73d0f2b4419", 1, TEN_DAYS, "§ 1005.11 Procedures for resolving errors.")
    filing = api.citation(2, "0a1b2c3d4e5f6071", 3, NET_SALES)
    passages = [
        {**{key: each[key] for key in ("document_id", "title", "section", "page", "page_label")}, "score": 0.8}
        for each in (rule, filing)
    ]
    sentences = [
        "A financial institution has 10 business days to determine whether an error occurred [1].",
        " Apple's total net sales were $94,836 million, down from $97,278 million a year earlier [2].",
        " ![A picture](https://example.org/leak.png?q=secret) and [a link](https://example.org) <img src=x>.",
    ]
    yield "status", {"stage": "check", "seconds": 0.001, "detail": {}}
    yield "comment", None
    yield "status", {"stage": "retrieve", "seconds": 0.02, "detail": {"passages": passages}}
    yield "mood", {"of": "a later version"}
    for index, text in enumerate(sentences):
        await asyncio.sleep(0.05)
        yield "sentence", {"index": index, "text": text}
    yield "citation", rule
    yield "citation", filing
    answer = {"id": f"answer-{len(api.asked)}", "question": body["question"], "text": "".join(sentences)}
    answer["receipt_id"] = f"receipt of {body['question']}"
    yield "answer", {**answer, "status": "answered", "citations": [rule, filing], "checks": [], "confidence": 0.9}
    yield "done", {}


async def refused(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    text = "The documents do not answer this question. I searched 36 documents. Name the product or rule you mean."
    yield "status", {"stage": "retrieve", "seconds": 0.02, "detail": {"passages": []}}
    yield "sentence", {"index": 0, "text": text}
    yield "answer", {"id": "refusal", "text": text, "status": "refused", "reason": "not_in_documents", "citations": []}
    yield "done", {}


async def escalated(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    text = "This needs a person at the bank, at once. Call the bank now, on the number on your statement."
    yield "status", {"stage": "check", "seconds": 0.001, "detail": {}}
    yield "sentence", {"index": 0, "text": text}
    yield "answer", {"id": "people", "text": text, "status": "escalated", "reason": "lost_card", "citations": []}
    yield "done", {}


async def endless(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    for index in range(2000):
        yield "sentence", {"index": index, "text": f"Sentence number {index}. "}
        await asyncio.sleep(0.1)


async def cut(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    yield "sentence", {"index": 0, "text": "This is only the beginning."}


async def busy(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    yield "http", {"title": "Too many requests", "status": 429, "detail": "secret detail"}


async def failing(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    yield "sentence", {"index": 0, "text": "Half an answer."}
    yield "error", {"title": "Internal error", "status": 500, "detail": "secret detail"}


async def given_before(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    """From what was kept, unless a fresh answer is asked for."""
    text = "This was worked out now." if body["fresh"] else "This was given before."
    yield "sentence", {"index": 0, "text": text}
    answer = {"id": f"kept-{len(api.asked)}", "text": text, "status": "answered", "citations": []}
    yield "answer", {**answer, "cached": not body["fresh"]}
    yield "done", {}


async def slow(api: ScriptedApi, body: dict[str, Any]) -> AsyncIterator[tuple[str, Any]]:
    rule = api.citation(1, "5e8ca73d0f2b4419", 1, TEN_DAYS, "§ 1005.11 Procedures for resolving errors.")
    text = "The first half. The second half [1]."
    yield "sentence", {"index": 0, "text": text[:15]}
    await asyncio.sleep(2)
    yield "sentence", {"index": 1, "text": text[15:]}
    yield "answer", {"id": "slow", "text": text, "status": "answered", "citations": [rule]}
    yield "done", {}


SCRIPTS: dict[str, Script] = {
    "slow": slow,
    "given before": given_before,
    "": answered,
    "weather": refused,
    "lost my card": escalated,
    "endless": endless,
    "cut": cut,
    "busy": busy,
    "failing": failing,
}


@pytest.fixture(scope="session")
def api() -> Iterator[ScriptedApi]:
    """The scripted API, for all tests; each test looks only at its own questions."""
    scripted = ScriptedApi(sample_documents(), dict(SCRIPTS))
    port = free_port()
    scripted.url = f"http://127.0.0.1:{port}"
    with serving(scripted.application(), port):
        yield scripted


@pytest.fixture(scope="session")
def ui_url(api: ScriptedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The UI in front of the scripted API."""
    port = free_port()
    child = start_ui(api.url, tmp_path_factory.mktemp("ui"), port)
    yield f"http://127.0.0.1:{port}"
    child.terminate()
    child.wait(15)


@pytest.fixture(scope="module")
def ui_with(api: ScriptedApi, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[str]]:
    """`ui_with({"LOGIN": "key"})`: the address of a UI with these settings, while it runs."""

    @contextmanager
    def running(settings: dict[str, str], folder: Path | None = None) -> Iterator[str]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {f"BANKSIGHT_UI_{name}": value for name, value in ({"PUBLIC_URL": url} | settings).items()}
        child = start_ui(api.url, folder or tmp_path_factory.mktemp("ui"), port, **environment)
        yield url
        child.terminate()
        child.wait(15)

    return running


@pytest.fixture(scope="module")
def serve_here() -> Callable[..., AbstractContextManager[Any]]:
    """`serve_here(make)`: what `make` builds for the address that it gets, while its application runs there."""

    @contextmanager
    def running(make: Callable[[str], Any]) -> Iterator[Any]:
        port = free_port()
        server = make(f"http://127.0.0.1:{port}")
        with serving(server.application(), port):
            yield server

    return running


@pytest.fixture(scope="module")
def login_url(ui_with: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """A UI where people sign in with their key."""
    with ui_with({"LOGIN": "key"}) as url:
        yield url


@pytest.fixture
def visit_of(browser: Browser, ui_url: str) -> Iterator[Callable[..., Visit]]:
    """`visit_of(locale="ar")`: a fresh visit. A test fails when any visit asked another host, or had an error."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def start(url: str = ui_url, **options: Any) -> Visit:
        usual = {"locale": "en-US", "color_scheme": "light", "viewport": {"width": 1366, "height": 860}}
        contexts.append(browser.new_context(**{**usual, **options}))
        visits.append(visit(contexts[-1], url))
        return visits[-1]

    yield start
    for context in contexts:
        context.close()
    assert [address for each in visits for address in each.foreign] == []
    assert [error for each in visits for error in each.errors] == []


@pytest.fixture
def chat(visit_of: Callable[..., Visit]) -> Visit:
    """A visit on a desktop, in English."""
    return visit_of()


@pytest.fixture
def chat_without_api(
    visit_of: Callable[..., Visit], api: ScriptedApi, tmp_path: Path
) -> Iterator[tuple[Visit, Callable[[], None]]]:
    """A visit to a UI whose API is down, and a function that brings the API up."""
    port, api_port = free_port(), free_port()
    child = start_ui(f"http://127.0.0.1:{api_port}", tmp_path, port)
    with ExitStack() as stack:
        yield visit_of(f"http://127.0.0.1:{port}"), lambda: stack.enter_context(serving(api.application(), api_port))
        child.terminate()
        child.wait(15)
