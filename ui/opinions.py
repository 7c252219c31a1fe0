"""Thumbs on answers, by our own routes: Chainlit's let anybody overwrite and delete the thumbs of others."""

from __future__ import annotations

from typing import Literal

from chainlit.types import Feedback
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ui.history.layer import ConversationLayer
from ui.person import NotTheirs

MAX_BODY = 20_000


class Opinion(BaseModel):
    """A thumb, as the page sends it. Its `id` is not needed: an answer has one thumb."""

    model_config = ConfigDict(extra="ignore")

    forId: str = Field(min_length=1, max_length=64)  # noqa: N815 - Chainlit's name
    value: Literal[0, 1]
    comment: str | None = Field(default=None, max_length=2000)


class _Given(BaseModel):
    feedback: Opinion


class _TakenBack(BaseModel):
    feedbackId: str = Field(min_length=1, max_length=64)  # noqa: N815 - Chainlit's name


def feedback_routes(layer: ConversationLayer) -> list[Route]:
    """`PUT /feedback` and `DELETE /feedback`, each for the own answers of who is signed in. Others' look absent."""

    async def give(request: Request) -> Response:
        opinion = _Given.model_validate_json(await _body(request)).feedback
        feedback = Feedback(forId=opinion.forId, value=opinion.value, comment=opinion.comment)
        return JSONResponse({"success": True, "feedbackId": await layer.upsert_feedback(feedback)})

    async def take_back(request: Request) -> Response:
        await layer.delete_feedback(_TakenBack.model_validate_json(await _body(request)).feedbackId)
        return JSONResponse({"success": True})

    async def feedback(request: Request) -> Response:
        try:
            return await (give if request.method == "PUT" else take_back)(request)
        except ValidationError:
            return JSONResponse({"detail": "This is no feedback."}, status_code=422)
        except NotTheirs:
            return JSONResponse({"detail": "There is no such answer of yours."}, status_code=404)

    return [Route("/feedback", feedback, methods=["PUT", "DELETE"])]


async def _body(request: Request) -> bytes:
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > MAX_BODY:
            return b""  # is no feedback
    return body
