"""The queue of documents that are held back: what a reviewer sees of one, and how it is let in."""

from __future__ import annotations

from rag.domain import Document, Principal
from rag.errors import NotFound
from rag.governance.receipts import Receipts
from rag.storage.records import HeldContent
from rag.storage.registry import Registry


def held_document(registry: Registry, document_id: str, principal: Principal) -> tuple[Document, HeldContent]:
    """A document that is held back, and why. Raises `NotFound`.

    The excerpts are text of the document: who does not hold its labels sees neither them nor lets it in.
    """
    document = registry.document(document_id)
    if not principal.may_read(document.tenant, document.access):
        raise NotFound(f"document {document_id!r} is not held back; `banksight quarantine list` shows those that are")
    return document, registry.held(document_id)


def release_document(registry: Registry, receipts: Receipts, document_id: str, principal: Principal) -> Document:
    """Let the next ingestion take in these bytes; other bytes under the same name are looked at again.

    Raises `NotFound`, and `StorageUnavailable` where it cannot be recorded: then nothing was let in.
    """
    document, held = held_document(registry, document_id, principal)
    facts = {"document_id": document_id, "content_sha256": held.content_hash, "of": "quarantine"}
    with receipts.action("restoration", principal, **facts):
        registry.release(document_id, held.content_hash, principal.subject)
    return document
