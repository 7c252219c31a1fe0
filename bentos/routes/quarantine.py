"""Documents that were held back when they were ingested: why, and how they are let in. Rejecting one is deleting it."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.principals import Caller, requires
from bentos.routes.documents import DocumentId
from rag.ingestion.reviewing import held_document, release_document

router = APIRouter(tags=["Documents"])


@router.get(
    "/v1/documents/{document_id}/quarantine",
    dependencies=[requires("operator")],
    response_model=schemas.HeldDocument,
    responses=errors(404),
)
async def get_held_document(document_id: DocumentId, workspace: OpenWorkspace, caller: Caller) -> Any:
    """Why a document is held back, with excerpts. They are hostile text: show them as text only."""
    document, held = await asyncio.to_thread(held_document, workspace.registry, document_id, caller)
    return {"document": document, "found": list(held.found), "held_at": held.held_at}


@router.post(
    "/v1/documents/{document_id}/release",
    dependencies=[requires("operator")],
    response_model=schemas.Document,
    responses=errors(404),
)
async def release(document_id: DocumentId, workspace: OpenWorkspace, caller: Caller) -> Any:
    """Let the next ingestion take in a document that is held back, as it is now; changed, it is looked at again."""
    return await asyncio.to_thread(release_document, workspace.registry, workspace.receipts, document_id, caller)
