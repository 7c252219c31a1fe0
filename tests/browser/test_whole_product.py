"""`banksight up` on a small corpus, used through the browser: from a question to the quoted words on the right page."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 240  # the first start may export the encoder
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")


def two_free_ports() -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


TRACING = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect")  # -D: `up` stays our own child


def can_trace() -> bool:
    """Whether strace is here and may look at processes."""
    return shutil.which("strace") is not None and not subprocess.call(["strace", "-o", os.devnull, "true"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this run is, and `connects`: whom all its processes tried to reach."""
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def addresses(folder: Path) -> Iterator[tuple[str, str]]:
    """Addresses of API and chat, both started by the one command that people type."""
    corpus = folder / "corpus"
    corpus.mkdir()
    shutil.copy(ROOT / "sample_bank" / "regulations" / "regulation-e-1005-electronic-fund-transfers.md", corpus)
    shutil.copy(ROOT / "sample_bank" / "filings" / "2023 Q2 AAPL.pdf", corpus)
    api_port, ui_port = two_free_ports()
    source = {"name": "small", "kind": "filesystem", "collection": "small", "root": str(corpus)}
    environment = {name: value for name, value in os.environ.items() if name in KEPT} | {
        "BANKSIGHT_PROFILE": "test",
        "BANKSIGHT_DATA_DIR": str(folder / "data"),
        "BANKSIGHT__SOURCES": json.dumps([source]),
        "BANKSIGHT__SERVER__PORT": str(api_port),
        "BANKSIGHT__SERVER__UI_PORT": str(ui_port),
        "BENTOML_HOME": str(folder / "bentoml"),
    }
    log = folder / "log"
    with log.open("wb") as output:
        traced = [*TRACING, "-o", str(folder / "connects")] if can_trace() else []
        up = subprocess.Popen(
            [*traced, sys.executable, "-m", "rag.cli", "up"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    chat = f"http://127.0.0.1:{ui_port}"
    try:
        wait_for(f"{chat}/health", up, log)
        yield f"http://127.0.0.1:{api_port}", chat
    finally:
        up.terminate()
        up.wait(60)
    with pytest.raises(httpx.ConnectError):  # it ended what it had started
        httpx.get(f"{chat}/health", trust_env=False)


def wait_for(url: str, up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and up.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).is_success and b"Ctrl-C" in log.read_bytes():
                return
        time.sleep(0.2)
    pytest.fail(f"`banksight up` did not start: {log.read_text()[-2000:]}")


def squeezed(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def test_a_regulation_is_quoted_word_for_word_where_it_stands(addresses: tuple[str, str], visit_of) -> None:
    chat = visit_of(addresses[1])
    page = chat.home()
    chat.ask("What are the error-resolution deadlines for an unauthorised electronic transfer?")
    expect(page.get_by_role("button", name=re.compile(r"Searched \d+ passages in 1 document"))).to_be_visible()
    source = page.get_by_role("button", name=re.compile(r"^\[1\] ")).first
    expect(source).to_be_visible()
    expect(page.locator('[data-step-type="assistant_message"]').last).to_contain_text("[1]")
    source.click()
    quote = page.locator("#side-view-content blockquote")
    expect(quote).to_be_visible()
    marked = page.locator(".page-text .font-bold")
    expect(marked.first).to_be_visible()
    assert squeezed(" ".join(marked.all_text_contents())) == squeezed(quote.inner_text())


def test_a_filing_opens_at_the_page_that_holds_the_quote(addresses: tuple[str, str], visit_of) -> None:
    api, chat_address = addresses
    chat = visit_of(chat_address)
    page = chat.home()
    chat.ask("What were Apple's total net sales in the quarter ended April 1, 2023?")
    source = page.get_by_role("button", name=re.compile(r"^\[1\] .+ · p\. \d+$"))
    number = re.search(r"p\. (\d+)$", source.inner_text())
    assert number is not None
    source.click()
    expect(page.locator(".page-pdf")).to_contain_text(f"{number[1]} / 28")
    expect(page.locator(".react-pdf__Page")).to_have_attribute("data-page-number", number[1])
    expect(page.locator("mark.quoted").first).to_be_visible()
    documents = httpx.get(f"{api}/v1/documents", trust_env=False).json()["documents"]
    filing = next(each["id"] for each in documents if each["media_type"] == "application/pdf")
    text = httpx.get(f"{api}/v1/documents/{filing}/pages/{number[1]}", trust_env=False).json()["text"]
    assert squeezed(page.locator("#side-view-content blockquote").inner_text()) in squeezed(text)


def test_another_subject_is_refused_without_sources(addresses: tuple[str, str], visit_of) -> None:
    chat = visit_of(addresses[1])
    page = chat.home()
    chat.ask("Which football club won the championship in 1954?")
    expect(page.get_by_text("this seems to be about something else")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"^\[1\] "))).to_have_count(0)


@pytest.mark.proves("LLM02", "ASVS 14.2.3", "GDPR 44", "SOC 2 CC6.7", "ISO A.8.12")
def test_no_process_tried_to_reach_another_machine(addresses: tuple[str, str], folder: Path) -> None:
    """Ingesting, answering, refusing and showing, in API, chat, parsers and everything native in them."""
    if not (folder / "connects").exists():
        pytest.skip("strace is not installed or may not look at processes; install the package strace")
    calls = (folder / "connects").read_text()
    reached = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', calls)
    assert f"htons({addresses[0].rsplit(':', 1)[1]})" in calls, "the chat's calls of the API were not seen"
    assert {v4 or v6 for v4, v6 in reached} <= {"127.0.0.1", "::1"}
    assert not re.findall(r"sa_family=(?!AF_INET6?\b|AF_UNIX\b|AF_UNSPEC\b|AF_NETLINK\b)\w+", calls)
