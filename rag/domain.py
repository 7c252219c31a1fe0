"""The few nouns of BankSight. Frozen, without behaviour beyond what their names promise, without library types."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal

AnswerStatus = Literal["answered", "partial", "refused", "escalated"]
Trouble = Literal["unavailable", "failed", "slow", "empty", "looping", "unsupported"]  # of an engine
Degraded = Trouble | Literal["words_only"]  # ... or of the search
Outcome = Literal["added", "updated", "unchanged", "deleted", "failed", "quarantined", "excluded"]
DocumentState = Literal["pending", "writing", "indexed", "failed", "quarantined", "deleting", "excluded"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Every retrieval is bound to one; there is no way to search without."""

    subject: str
    tenant: str = "default"
    roles: frozenset[str] = frozenset({"user"})
    clearances: frozenset[str] = frozenset()

    def may_read(self, tenant: str, access: frozenset[str]) -> bool:
        """True when the document is of this tenant and every label on it is among the clearances."""
        return tenant == self.tenant and access <= self.clearances


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What narrows a search beyond what the principal may read. Empty tuples mean no restriction.

    `as_of` is the day whose documents count; None means today.
    """

    as_of: date | None = None
    collections: tuple[str, ...] = ()
    document_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the registry knows it. `collection` names the body of documents, with its own fusion weight."""

    id: str
    source: str
    uri: str
    title: str
    collection: str
    tenant: str
    media_type: str
    fingerprint: str
    content_hash: str
    access: frozenset[str]
    state: DocumentState
    effective_from: date | None = None
    effective_to: date | None = None
    supersedes: str | None = None
    pages: int = 0
    chunks: int = 0
    size_bytes: int = 0
    reason: str = ""
    message: str = ""
    snapshot_added: int = 0
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """One page as it was indexed: 1-based number, what a reader calls it, and its text."""

    document_id: str
    number: int
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk. `start` and `end` are character offsets in its page's text; `page_text[start:end] == text`.

    `score` is the fused score in 0..1; `dense` is the cosine similarity (-1..1) and `lexical` the BM25 score (>= 0),
    each None where that search did not return the chunk and it was not computed.
    """

    chunk_id: str
    document_id: str
    title: str
    section: str
    page: int
    page_label: str
    start: int
    end: int
    text: str
    score: float
    dense: float | None = None
    lexical: float | None = None
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a statement stands. `quote` is verbatim: `page_text[start:end] == quote`, offsets in characters."""

    marker: int
    document_id: str
    title: str
    section: str
    page: int
    page_label: str
    start: int
    end: int
    quote: str
    url: str


@dataclass(frozen=True, slots=True)
class SentenceCheck:
    """One sentence of an answer, with the markers that it carries and whether they support it."""

    text: str
    markers: tuple[int, ...]
    supported: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out. `text` carries markers `[n]` that match `citations`. `timings` are seconds per stage.

    `degraded` says what was wrong with the configured engine, if another one answered or it broke off, or that only
    words were searched; then `notice` says so to people.
    """

    id: str
    question: str
    text: str
    status: AnswerStatus
    reason: str = ""
    degraded: Degraded | Literal[""] = ""
    notice: str = ""
    citations: tuple[Citation, ...] = ()
    checks: tuple[SentenceCheck, ...] = ()
    confidence: float = 0.0
    searched_question: str = ""
    model: str = ""
    engine: str = ""
    prompt_version: str = ""
    snapshot: int = 0
    cached: bool = False
    receipt_id: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    @property
    def cacheable(self) -> bool:
        """Whether the same question may get this answer again: it is whole, and the configured engine gave it."""
        return not self.degraded and not self.notice and self.status == "answered"


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """What happened to one document in an ingestion run."""

    document_id: str
    uri: str
    outcome: Outcome
    reason: str = ""
    message: str = ""
    pages: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingestion run did. `failed` lists what a person must look at; empty means that all is well."""

    outcomes: tuple[DocumentOutcome, ...]
    snapshot: int
    seconds: float
    pages: int
    chunks: int
    embedded: int

    def count(self, outcome: Outcome) -> int:
        """How many documents ended this way."""
        return sum(1 for each in self.outcomes if each.outcome == outcome)

    @property
    def failed(self) -> tuple[DocumentOutcome, ...]:
        """The documents that are not searchable although their source holds them."""
        return tuple(each for each in self.outcomes if each.outcome in ("failed", "quarantined"))
