"""What a browser shows of a document: one page as text with the quote marked, and the file as it came.

Documents are untrusted. Everything of theirs is escaped, nothing may run or be fetched from here, and a file that a
browser could execute is only ever offered for download.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from fastapi.responses import FileResponse, HTMLResponse

from bentos.problems import Problem
from bentos.schemas import Highlight
from rag.domain import Document, DocumentPage

_INERT = frozenset({"application/pdf", "text/plain", "text/markdown", "text/csv"})
STYLE = """
:root { color-scheme: light dark;
        --ink: #1b2430; --paper: #fdfdfc; --quiet: #5d6875; --line: #d9dde2; --mark: #ffe58a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaee; --paper: #14181d; --quiet: #9aa6b2; --line: #333b45; --mark: #6b5600; }
}
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem; color: var(--ink); background: var(--paper);
       font: 16px/1.6 system-ui, sans-serif; }
h1 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .25rem; }
.quiet { color: var(--quiet); font-size: .9rem; }
article { white-space: pre-wrap; overflow-wrap: anywhere; border-top: 1px solid var(--line); margin-top: 1rem;
          padding-top: 1rem; }
mark { background: var(--mark); color: inherit; padding: .1em 0; }
a { color: inherit; }
nav { display: flex; gap: 1rem; flex-wrap: wrap; }
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{_STYLE_HASH}'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


def negotiated(accept: str) -> Literal["json", "html"]:
    """What the caller prefers. Browsers name text/html first; programs mostly take anything, which is JSON."""
    wanted = {kind: _quality(accept, kind) for kind in ("application/json", "text/html")}
    if max(wanted.values()) <= 0:
        raise Problem(406, "not_acceptable", "A page can be had as application/json or as text/html.")
    return "html" if wanted["text/html"] > wanted["application/json"] else "json"


def as_html(document: Document, page: DocumentPage, highlight: Highlight | None) -> HTMLResponse:
    """The page to read, with the quote in `<mark id="quote">`."""
    label = f" ({escape(page.label)})" if page.label and page.label != str(page.number) else ""
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(document.title)}, page {page.number}</title><style>{STYLE}</style></head>
<body><header><h1>{escape(document.title)}</h1>
<p class="quiet">Page {page.number}{label} of {document.pages}</p>{_links(document, page)}</header>
<article>{_marked(page.text, highlight)}</article></body></html>"""
    return HTMLResponse(body, headers=SAFE_HEADERS | {"Vary": "Accept"})


def as_file(path: Path, media_type: str, uri: str) -> FileResponse:
    """The file under the last part of its URI. A browser shows PDF and text in place and saves everything else."""
    inline = media_type in _INERT
    name = uri.removeprefix("file:").rsplit("/", 1)[-1] or "document"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
    disposition = (
        f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    )
    headers = SAFE_HEADERS | {"Content-Disposition": disposition}
    if media_type == "application/pdf":
        # The browser's own viewer is an embedded object with inline styles; the stricter policy would leave it blank.
        headers["Content-Security-Policy"] = "script-src 'none'; object-src 'self'; base-uri 'none'; form-action 'none'"
    shown = f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
    return FileResponse(path, headers=headers, media_type=shown if inline else "application/octet-stream")


def _links(document: Document, page: DocumentPage) -> str:
    links = []
    if page.number > 1:
        links.append(f'<a href="{page.number - 1}">Previous page</a>')
    if page.number < document.pages:
        links.append(f'<a href="{page.number + 1}">Next page</a>')
    links.append('<a href="../content">The original file</a>')
    return f'<nav class="quiet">{"".join(links)}</nav>'


def _marked(text: str, highlight: Highlight | None) -> str:
    if highlight is None:
        return escape(text)
    start, end = highlight.start, highlight.end
    return f'{escape(text[:start])}<mark id="quote">{escape(text[start:end])}</mark>{escape(text[end:])}'


def _quality(accept: str, kind: str) -> float:
    """The weight that an Accept header gives to a media type; the most specific entry counts (RFC 9110, 12.5.1)."""
    ranks = {kind: 2, f"{kind.partition('/')[0]}/*": 1, "*/*": 0}
    best, weight = -1, 0.0
    for entry in accept.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        rank = ranks.get(name, -1)
        if rank > best:
            best, weight = rank, _weight(parameters)
    return weight


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
