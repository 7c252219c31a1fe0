"""Wire models of our own routes. They are made from the nouns of `rag.domain`, field by field."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rag.domain import AnswerStatus, Degraded, DocumentState, Outcome, SearchFilter
from rag.governance.audit_lines import RECEIPT_ID

DOCUMENT_ID = r"^[0-9a-f]{16}$"
JOB_ID = r"^[0-9a-f]{32}$"
COLLECTION = r"^[a-z0-9][a-z0-9_-]{0,30}$"


def _storable(text: str) -> str:
    """Neither PostgreSQL nor UTF-8 can hold these, however valid the JSON was."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain NUL characters or half of a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$")]


class Wire(BaseModel):
    """What travels. Requests refuse unknown fields: a misspelt one must not be ignored in silence."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Turn(Wire):
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    content: Text = Field(max_length=20_000)


class Filters(Wire):
    """What narrows a search beyond what the caller may read. Empty lists mean no restriction."""

    collections: list[Annotated[str, Field(pattern=COLLECTION)]] = Field(default=[], max_length=50)
    document_ids: list[Annotated[str, Field(pattern=DOCUMENT_ID)]] = Field(default=[], max_length=200)


class Narrowed(Wire):
    """The part of a request that narrows what counts."""

    as_of: date | None = Field(default=None, description="The day whose documents count; today when absent.")
    filters: Filters = Filters()

    def narrow(self) -> SearchFilter:
        """The same as the searcher takes it."""
        return SearchFilter(self.as_of, tuple(self.filters.collections), tuple(self.filters.document_ids))


class AskRequest(Narrowed):
    """A question, what was said before it, and how the answer travels."""

    question: Text = Field(
        examples=["What are the error-resolution deadlines for an unauthorised electronic transfer?"]
    )
    history: list[Turn] = Field(default=[], max_length=50)
    stream: bool = Field(
        default=False,
        description="True: server-sent events status, draft, sentence, citation, answer, done.",
    )
    fresh: bool = Field(
        default=False, description="True: not an answer that was given before, although it would be the same."
    )


class Feedback(Wire):
    """What somebody says about an answer that they got."""

    receipt_id: str = Field(pattern=RECEIPT_ID, description="As the answer names it.")
    value: Literal["up", "down", "withdrawn"]
    reason: Literal["", "wrong", "incomplete", "wrong_source", "unclear", "outdated", "other"] = ""
    comment: Text = Field(default="", max_length=2000)


class SearchRequest(Narrowed):
    """A search without an answer."""

    query: Text = Field(examples=["provisional credit error resolution"])
    top_k: int | None = Field(default=None, ge=1, description="How many passages; the configured number when absent.")


class Passage(Wire):
    """A retrieved chunk. `start` and `end` are character offsets in its page's text."""

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
    dense: float | None
    lexical: float | None
    collection: str


class SearchResponse(Wire):
    """The best passages that the caller may read, best first, and the corpus snapshot they come from.

    `notice` says it when only passages that share words with the query could be found.
    """

    passages: list[Passage]
    snapshot: int
    notice: str


class Citation(Wire):
    """Where a statement stands. `url` is the page on this API; the quote is verbatim."""

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


class SentenceCheck(Wire):
    """One sentence of an answer, its markers, and whether the cited passages support it."""

    text: str
    markers: list[int]
    supported: bool
    reason: str


class Answer(Wire):
    """What goes out. `text` carries markers `[n]` that match `citations`. `timings` are seconds per stage.

    When the configured engine was down, slow or gave nothing usable, or only words were searched, `degraded` says
    which, and `notice` is a sentence to show beside the answer. Where `cacheable` is false, the same question may get
    a better answer later.
    """

    id: str
    question: str
    text: str
    status: AnswerStatus
    reason: str
    degraded: Degraded | Literal[""]
    notice: str
    cacheable: bool
    citations: list[Citation]
    checks: list[SentenceCheck]
    confidence: float
    searched_question: str
    model: str
    engine: str
    prompt_version: str
    snapshot: int
    cached: bool
    receipt_id: str
    timings: dict[str, float]
    tokens: dict[str, int]


class Document(Wire):
    """A document as the registry knows it."""

    id: str
    source: str
    uri: str
    title: str
    collection: str
    media_type: str
    access: list[str]
    state: DocumentState
    effective_from: date | None
    effective_to: date | None
    supersedes: str | None
    pages: int
    chunks: int
    size_bytes: int
    reason: str
    message: str
    snapshot_added: int
    updated_at: str


class DocumentList(Wire):
    """One page of the listing. `next_cursor` is null on the last one."""

    documents: list[Document]
    next_cursor: str | None


class FoundInDocument(Wire):
    """Something in question. `page` is 0 where it is not known. `excerpt` is hostile text."""

    reason: Literal["hidden_text", "invisible_characters", "orders", "encoded"]
    page: int
    excerpt: str


class HeldDocument(Wire):
    """A document that is held back, and why. `held_at` is in seconds since 1970."""

    document: Document
    found: list[FoundInDocument]
    held_at: int


class Highlight(Wire):
    """Character offsets of the quote in the page's text."""

    start: int
    end: int


class PageResponse(Wire):
    """One page as it was indexed."""

    document_id: str
    title: str
    media_type: str
    page: int
    page_label: str
    pages: int
    text: str
    highlight: Highlight | None = None


class UploadForm(Wire):
    """An uploaded file and what is said about it."""

    file: UploadFile = Field(
        description="PDF, DOCX, PPTX, XLSX, CSV, HTML, Markdown, text or e-mail; checked by content."
    )
    title: Text = Field(default="", max_length=300)
    collection: str = Field(default="uploads", pattern=COLLECTION)
    access: list[Label] = Field(default=[], max_length=20, description="Labels that a reader must hold, all of them.")
    effective_from: date | None = None
    effective_to: date | None = None


class LabelRequest(Wire):
    """The labels that a document has besides those of its source. An empty list takes them all off again."""

    access: list[Label] = Field(max_length=20, description="Labels that a reader must hold too, all of them.")


class JobRequest(Wire):
    """Work to be done in the background."""

    kind: Literal["ingest"]
    sources: list[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]] | None = Field(
        default=None, min_length=1, max_length=50, description="Names of configured sources; all of them when absent."
    )


class JobProgress(Wire):
    """How far a job is. `total` is 0 while it is not known."""

    stage: str
    done: int
    total: int


class DocumentOutcome(Wire):
    """What happened to one document."""

    document_id: str
    uri: str
    outcome: Outcome
    reason: str
    message: str
    pages: int
    chunks: int


class JobReport(Wire):
    """The sums of a finished ingestion. `counts` has one entry per outcome that occurred."""

    counts: dict[str, int]
    snapshot: int
    seconds: float
    pages: int
    chunks: int


class Reload(Wire):
    """What a reload of the configuration did: keys that count now, and keys that count after a restart."""

    changed: list[str]
    needs_restart: list[str]
    prompt_version: str


class BackupSnapshot(Wire):
    """A copy of the corpus that `banksight backup create` saves from the data folder of this machine."""

    created_at: str
    snapshot: int
    documents: int
    chunks: int


class Job(Wire):
    """Background work. `outcomes` lists every document that did not stay as it was."""

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    sources: list[str] | None
    document_id: str | None
    progress: JobProgress
    outcomes: list[DocumentOutcome]
    report: JobReport | None
    error: str | None
    created_at: str
    finished_at: str | None


class JobList(Wire):
    """The latest jobs, newest first."""

    jobs: list[Job]


class Person(Wire):
    """Who a caller is to the service."""

    subject: str
    tenant: str
    roles: list[str]
    clearances: list[str] = Field(description="The access labels that this person holds.")


class AuditRecord(Wire):
    """One line of the audit trail. `prev` is the MAC of the line before it in its chain."""

    chain: str
    seq: int
    id: str
    at: str
    kind: str
    who: str
    prev: str
    body: dict[str, Any]


class Receipt(Wire):
    """What was recorded of one answer or action, in order."""

    id: str
    records: list[AuditRecord]


class Health(Wire):
    """Whether the service can answer, and what of it is missing. `degraded` still answers."""

    status: Literal["ok", "degraded", "starting", "unavailable"]
    checks: dict[str, Any]
    detail: str = ""


class ProblemDocument(BaseModel):
    """RFC 9457: what is wrong, in one sentence that says what to do."""

    type: str = Field(examples=["urn:banksight:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no document with this id, or you may not see it."])
    instance: str = Field(examples=["/v1/documents/0123456789abcdef"])
    errors: list[dict[str, str]] | None = Field(
        default=None, description="Each wrong field, when a request is invalid."
    )
