"""Questions and answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from bentos import schemas
from bentos.answering import answer_events, complete, first_of, for_caller, paced
from bentos.contract import OpenWorkspace, TheSettings, checked_filter, errors, needs_consent
from bentos.principals import Caller, requires
from bentos.streaming import EventStream, answer_frames, event_schema
from rag.operations import deadline
from rag.query.events import AskRequest, Turn

router = APIRouter(tags=["Questions"])

_STREAM: dict[str, Any] = {
    "description": "The answer. With `stream: true`, server-sent events: any number of `status`, `sentence` and "
    "`citation`, then `answer` and `done`; or `error`, with a problem document, which also ends the stream. A stream "
    "that ends without `done` or `error` was cut. Comment lines keep the connection alive.",
    "content": {
        "text/event-stream": {
            "schema": event_schema("status", "draft", "sentence", "citation", "answer", "done", "error")
        }
    },
}


@router.post(
    "/v1/ask",
    dependencies=[requires("user"), needs_consent],
    response_model=schemas.Answer,
    responses={200: _STREAM, **errors(400, 413, 504)},
)
async def ask(
    asked: schemas.AskRequest, request: Request, workspace: OpenWorkspace, settings: TheSettings, caller: Caller
) -> Any:
    """Ask a question; get an answer with citations, or a refusal that says what was searched.

    A caller that goes away cancels the work.
    """
    narrow = checked_filter(asked.narrow(), workspace, caller)
    turns = tuple(Turn(turn.role, turn.content) for turn in asked.history)
    question = AskRequest(asked.question, turns, narrow, asked.fresh)
    left = deadline.remaining(settings.server.deadline_seconds)
    if not asked.stream:
        return await for_caller(request, complete(workspace, question, caller), left)
    events = paced(answer_events(workspace, question, caller), settings.server.heartbeat_seconds, left)
    first = await for_caller(request, first_of(events), left)
    response: Response = EventStream(answer_frames(first, events))
    return response
