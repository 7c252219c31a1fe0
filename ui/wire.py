"""The API's wire contract as the UI reads it. Unknown fields are ignored: the API may grow before the UI does."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class WireModel(BaseModel):
    """What the API sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Turn(WireModel):
    """One earlier contribution to the conversation."""

    role: Literal["user", "assistant"]
    content: str


class Person(WireModel):
    """Whom the API takes a caller for."""

    subject: str = Field(min_length=1)
    tenant: str


class PassageHeader(WireModel):
    """Where a retrieved passage stands. `score` is the fused score in 0..1."""

    document_id: str
    title: str
    section: str = ""
    page: int = 1
    page_label: str = ""
    score: float = 0.0


class Citation(WireModel):
    """Where a statement stands: `page_text[start:end] == quote`, in characters; `page` counts from 1."""

    marker: int = Field(ge=1)
    document_id: str
    title: str
    section: str = ""
    page: int = Field(default=1, ge=1)
    page_label: str = ""
    start: int = Field(default=0, ge=0)
    end: int = Field(default=0, ge=0)
    quote: str = ""


class Answer(WireModel):
    """A finished answer. `text` carries markers `[n]` that match `citations`. `cached`: it was given before."""

    id: str
    text: str
    status: Literal["answered", "partial", "refused", "escalated"] = "answered"
    reason: str = ""
    notice: str = ""
    citations: tuple[Citation, ...] = ()
    receipt_id: str = ""
    cached: bool = False


class PageHighlight(WireModel):
    """Character span of the quote in the page's text."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)


class DocumentPage(WireModel):
    """One page of a document as it was indexed."""

    document_id: str
    title: str
    media_type: str
    page: int = 1
    page_label: str = ""
    pages: int = 1
    text: str = ""
    highlight: PageHighlight | None = None


class Stage(WireModel):
    """The API finished a stage of its work."""

    stage: str
    seconds: float = 0.0
    detail: dict[str, Any] = Field(default_factory=dict)

    def rewritten(self) -> str:
        """The question that stands alone and is searched for, where it is not the one asked."""
        question = self.detail.get("searched_question")
        changed = self.stage == "rewrite" and self.detail.get("by") in ("rules", "engine")
        return question if changed and isinstance(question, str) else ""

    def passages(self) -> tuple[PassageHeader, ...]:
        """The passages that retrieval found, best first. What cannot be read is left out: it only accompanies."""
        found = self.detail.get("passages")
        if self.stage != "retrieve" or not isinstance(found, list):
            return ()
        readable = []
        for each in found:
            with suppress(ValidationError):
                readable.append(PassageHeader.model_validate(each))
        return tuple(readable)


class Sentence(WireModel):
    """The next piece of the answer's text, already verified."""

    index: int = 0
    text: str


class Problem(WireModel):
    """An RFC 9457 problem document."""

    title: str = ""
    status: int = 0
    detail: str = ""
    instance: str = ""


StreamEvent = Stage | Sentence | Citation | Answer
