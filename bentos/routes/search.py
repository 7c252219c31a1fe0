"""Passages without an answer."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic_core import to_json

from bentos import schemas
from bentos.contract import OpenWorkspace, TheSettings, checked_filter, errors, needs_consent
from bentos.principals import Caller, requires
from rag.errors import QuestionError
from rag.query.patience import NOTICE
from rag.query.questions import clean_question

router = APIRouter(tags=["Questions"])


@router.post(
    "/v1/search",
    dependencies=[requires("analyst"), needs_consent],
    response_model=schemas.SearchResponse,
    responses=errors(400, 413),
)
async def search(
    asked: schemas.SearchRequest, workspace: OpenWorkspace, settings: TheSettings, caller: Caller
) -> Response:
    """The passages that fit a query best, with their fused, dense (cosine) and lexical (BM25) scores."""
    top_k = asked.top_k or settings.retrieval.top_k
    if top_k > settings.retrieval.max_top_k:
        raise QuestionError(f"top_k is {top_k}; at most {settings.retrieval.max_top_k} passages can be asked for.")
    query = clean_question(asked.query, settings.question.max_characters)
    protected = await asyncio.to_thread(workspace.answers.question, query, caller)
    narrow = checked_filter(asked.narrow(), workspace, caller)
    snapshot = workspace.catalog.snapshot
    began = time.perf_counter()
    found = await workspace.searcher.asearch(protected.text, caller, narrow, top_k)
    notices = [NOTICE if workspace.searcher.words_only_since(began) else "", protected.notice]
    # Our own dataclasses have the wire's fields already: written once, instead of read into models and checked twice.
    body = to_json({"passages": found, "snapshot": snapshot, "notice": " ".join(filter(None, notices))})
    return Response(body, media_type="application/json")
