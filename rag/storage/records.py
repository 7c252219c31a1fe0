"""What the registry's rows mean: documents, versions and chunks, and how they become rows and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Row, select

from rag.domain import Document, DocumentPage, DocumentState
from rag.storage.schema import chunks, documents, pages

if TYPE_CHECKING:
    from llama_index.core.schema import TextNode


# Chunks with what `stored_chunk_of` needs of their pages and documents.
PASSAGES = (
    select(chunks, pages.c.label, pages.c.text, documents.c.title)
    .join(pages, (pages.c.document_id == chunks.c.document_id) & (pages.c.number == chunks.c.page))
    .join(documents, documents.c.id == chunks.c.document_id)
)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as retrieval needs it; `text == page_text[start:end]`. `header` heads the table that it continues.

    `indexed_hash` is the SHA-256 of the text that was embedded.
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
    header: str = ""
    indexed_hash: str = ""

    def node(self) -> TextNode:
        """The chunk as ingestion made it."""
        from llama_index.core.schema import TextNode  # noqa: PLC0415 - two seconds that reading a row must not pay

        others = ("chunk_id", "text", "indexed_hash")
        metadata = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in others}
        return TextNode(id_=self.chunk_id, text=self.text, metadata=metadata)


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk about to be committed. `indexed_hash` is the SHA-256 of the text that was embedded."""

    chunk_id: str
    page: int
    start: int
    end: int
    section: str
    header: str
    indexed_hash: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a document, ready to replace the one before."""

    document: Document
    scope: str
    pages: tuple[DocumentPage, ...]
    chunks: tuple[NewChunk, ...]


@dataclass(frozen=True, slots=True)
class HeldContent:
    """Why a document is held back: the SHA-256 of its bytes, `{reason, page, excerpt}` of each finding, and when."""

    content_hash: str
    found: Sequence[Mapping[str, Any]]
    held_at: int


def held_values(document_id: str, held: HeldContent) -> dict[str, Any]:
    """The row that says why a document is held back."""
    found = json.dumps([dict(each) for each in held.found], ensure_ascii=False)
    return {"document_id": document_id, "content_hash": held.content_hash, "found": found, "held_at": held.held_at}


def chunk_values(chunk: NewChunk, document_id: str, scope: str) -> dict[str, Any]:
    """The row of a chunk."""
    return {
        "id": chunk.chunk_id,
        "document_id": document_id,
        "scope": scope,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "section": chunk.section,
        "header": chunk.header,
        "indexed_hash": chunk.indexed_hash,
    }


def document_values(document: Document, scope: str) -> dict[str, Any]:
    """The row of a document, changed now."""
    names = [name for name in document.__dataclass_fields__ if name not in ("access", "effective_from", "effective_to")]
    return {name: getattr(document, name) for name in names} | {
        "scope": scope,
        "access": json.dumps(sorted(document.access)),
        "effective_from": document.effective_from and document.effective_from.isoformat(),
        "effective_to": document.effective_to and document.effective_to.isoformat(),
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def document_of(row: Row[Any], added: frozenset[str] = frozenset()) -> Document:
    """The document of a row, whose readers need the labels of its source and those that people added."""
    return Document(
        id=row.id,
        source=row.source,
        uri=row.uri,
        title=row.title,
        collection=row.collection,
        tenant=row.tenant,
        media_type=row.media_type,
        fingerprint=row.fingerprint,
        content_hash=row.content_hash,
        access=frozenset(json.loads(row.access)) | added,
        state=cast("DocumentState", row.state),
        effective_from=date.fromisoformat(row.effective_from) if row.effective_from else None,
        effective_to=date.fromisoformat(row.effective_to) if row.effective_to else None,
        supersedes=row.supersedes,
        pages=row.pages,
        chunks=row.chunks,
        size_bytes=row.size_bytes,
        reason=row.reason,
        message=row.message,
        snapshot_added=row.snapshot_added,
        updated_at=row.updated_at,
    )


def stored_chunk_of(row: Row[Any]) -> StoredChunk:
    """The chunk of a row that was joined with its page and its document."""
    return StoredChunk(
        chunk_id=row.id,
        document_id=row.document_id,
        title=row.title,
        section=row.section,
        page=row.page,
        page_label=row.label,
        start=row.start,
        end=row.end,
        text=row.text[row.start : row.end],
        header=row.header,
        indexed_hash=row.indexed_hash,
    )
