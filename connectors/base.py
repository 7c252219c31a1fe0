"""What comes in: the few types that every source of documents produces.

`connectors` is a leaf package. It knows files and source systems; it knows nothing of retrieval, models or storage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol

Concealment = Literal["white", "invisible", "tiny", "off_page", "hidden_run", "not_shown"]


def document_id(source: str, uri: str) -> str:
    """16 hexadecimal characters that stay the same for as long as the document keeps its source and its URI."""
    return hashlib.sha256(f"{source}\x00{uri}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Page:
    """One page, sheet, slide or section of a document.

    `number` is 1-based. `start` is the offset, in characters, of this page's text in the whole document, where pages
    are joined by a single newline. `label` is what a reader calls the page when it is not a number: a sheet's name, a
    section's heading. `headings` are `(offset in this page's text, level 1-6, heading)` in reading order.
    """

    number: int
    text: str
    start: int
    label: str = ""
    headings: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Concealed:
    """Text in a file that its reader does not see; `page` is 1-based, 0 where the parser does not know it.

    Text that is `not_shown` is left out of the pages, because a browser leaves it out; all other stands in them.
    """

    how: Concealment
    page: int
    text: str


@dataclass(frozen=True, slots=True)
class DocumentMetadata:
    """What a sidecar file or a source system says about a document, beyond its text.

    A reader must hold **every** label in `access`; no labels means that everybody of the tenant may read it.
    """

    title: str = ""
    access: tuple[str, ...] = ()
    effective_from: date | None = None
    effective_to: date | None = None
    supersedes: str | None = None


# The label of an item whose own labels cannot be read. Nobody is ever given it, so nobody reads such a document.
UNKNOWN_ACCESS = "access-unknown"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """A document as a listing shows it: enough to tell whether it changed, without reading it.

    `fingerprint` changes whenever content, metadata or the parsers change; it may also change when they did not, and
    then reading shows the same content again. `location` is for the connector that listed it.

    `problem` is "" or says why its metadata cannot be trusted, in a sentence for the operator. Such an item carries the
    label `UNKNOWN_ACCESS`, and `read` raises `SourceMisconfigured` with that sentence: what was indexed of it before
    must not stay readable under its old labels.
    """

    id: str
    uri: str
    fingerprint: str
    location: str
    metadata: DocumentMetadata = field(default_factory=DocumentMetadata)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document that was read and parsed. `content` are the original bytes, kept for the page route.

    `concealed` is text in it that its readers do not see, as far as the parser looked.
    """

    id: str
    uri: str
    title: str
    media_type: str
    fingerprint: str
    content: bytes
    pages: tuple[Page, ...]
    access: tuple[str, ...] = ()
    effective_from: date | None = None
    effective_to: date | None = None
    supersedes: str | None = None
    concealed: tuple[Concealed, ...] = ()


class Connector(Protocol):
    """Where documents come from. Every connector passes the contract in `tests/unit/connectors/`.

    What vanished is what the registry knows of this source and `list_items` no longer names; therefore `list_items`
    raises `SourceUnavailable` rather than return a short list when it could not see everything.
    """

    @property
    def source(self) -> str:
        """The configured name of this source: part of every document id, and the owner of what it created."""

    def list_items(self) -> Iterator[SourceItem]:
        """Every document of the source, in a stable order. Raises `SourceUnavailable`."""

    def read(self, item: SourceItem) -> SourceDocument:
        """The document, parsed.

        Raises `SourceUnreadable`, whose text tells the document's owner what to do, or `SourceMisconfigured` where its
        metadata is wrong; both concern this document only. Raises `SourceUnavailable` where the whole source went away.
        """

    def close(self) -> None:
        """End the processes and connections that this connector opened."""
