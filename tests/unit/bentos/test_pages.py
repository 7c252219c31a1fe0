"""What a browser shows of a document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bentos.pages import as_file, as_html, negotiated
from bentos.problems import Problem
from bentos.schemas import Highlight
from rag.domain import Document, DocumentPage

DOCUMENT = Document(
    id="0123456789abcdef", source="s", uri="file:reg <e>.pdf", title="Reg <E> & co", collection="regulations",
    tenant="default", media_type="application/pdf", fingerprint="", content_hash="", access=frozenset(),
    state="indexed", pages=3,
)  # fmt: skip
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def _html(text: str, highlight: Highlight | None = None, number: int = 2, label: str = "") -> str:
    page = DocumentPage(DOCUMENT.id, number, label, text)
    return bytes(as_html(DOCUMENT, page, highlight).body).decode()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "json"),
        ("application/json", "json"),
        (CHROME, "html"),
        ("text/html", "html"),
        ("text/*;q=0.5, application/json;q=0.4", "html"),
        ("text/html;q=0.1, */*", "json"),
        ("application/*", "json"),
    ],
)
def test_the_caller_s_preference_decides(accept: str, kind: str) -> None:
    assert negotiated(accept) == kind


@pytest.mark.parametrize("accept", ["image/png", "application/pdf", "text/html;q=0", ""])
def test_other_formats_are_refused(accept: str) -> None:
    with pytest.raises(Problem) as raised:
        negotiated(accept)
    assert raised.value.status == 406


@pytest.mark.proves("LLM05", "PCI DSS 6.2.4")
def test_quote_is_marked_exactly_and_everything_is_escaped() -> None:
    text = "before <script>alert(1)</script> after"
    start = text.index("<script>")
    body = _html(text, Highlight(start=start, end=start + len("<script>")))
    assert '<mark id="quote">&lt;script&gt;</mark>alert(1)&lt;/script&gt; after' in body
    assert "<script" not in body
    assert "<title>Reg &lt;E&gt; &amp; co, page 2</title>" in body


@pytest.mark.proves("LLM05", "AISVS 7.3.3")
def test_page_forbids_scripts_and_everything_from_elsewhere() -> None:
    response = as_html(DOCUMENT, DocumentPage(DOCUMENT.id, 1, "", "x"), None)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_neighbouring_pages_are_linked_where_there_are_some() -> None:
    first, middle, last = (_html("x", number=number) for number in (1, 2, 3))
    assert ("Previous" in first, "Next" in first) == (False, True)
    assert ("Previous" in middle, "Next" in middle) == (True, True)
    assert ("Previous" in last, "Next" in last) == (True, False)


def test_label_of_a_sheet_is_shown() -> None:
    assert "Page 2 (Fees &lt;2026&gt;) of 3" in _html("x", label="Fees <2026>")


@pytest.mark.parametrize("media_type", ["application/pdf", "text/plain", "text/csv", "text/markdown"])
def test_files_that_cannot_run_are_shown_in_place(tmp_path: Path, media_type: str) -> None:
    response = as_file(tmp_path, media_type, "file:a.pdf")
    assert response.headers["content-disposition"].startswith("inline;")
    assert response.headers["content-type"].startswith(media_type)


@pytest.mark.proves("ASVS 5.3.1")
@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "message/rfc822", "x/y"])
def test_files_that_could_run_are_only_offered_for_download(tmp_path: Path, media_type: str) -> None:
    response = as_file(tmp_path, media_type, "file:a.html")
    assert response.headers["content-disposition"].startswith("attachment;")
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.proves("ASVS 5.4.1", "ASVS 5.4.2")
def test_file_names_are_encoded_and_cannot_add_headers(tmp_path: Path) -> None:
    uri = 'file:folder/Zins "Über\r\nsicht".pdf'
    disposition = as_file(tmp_path, "application/pdf", uri).headers["content-disposition"]
    assert "\r" not in disposition
    assert 'filename="Zins __ber__sicht_.pdf"' in disposition
    assert "filename*=UTF-8''Zins%20%22%C3%9Cber%0D%0Asicht%22.pdf" in disposition
    assert "folder" not in as_file(tmp_path, "text/html", replace(DOCUMENT, uri=uri).uri).headers["content-disposition"]
