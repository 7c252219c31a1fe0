"""Health, liveness, readiness and metrics.

Under BentoML, `/livez` and `/readyz` are its own routes, which agree with these.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.opening import Opening
from bentos.principals import for_anyone
from rag.errors import BankSightError, Busy
from rag.models.llms import engine_stats
from rag.operations.exposition import exposition
from rag.operations.gpu import Cards
from rag.operations.health import health_of
from rag.operations.recorded import recorded, registered

router = APIRouter(tags=["Operations"])
_cards = Cards()


@router.get(
    "/health",
    dependencies=[for_anyone()],
    response_model=schemas.Health,
    responses={**errors(), 503: {"model": schemas.Health}},
)
async def health(request: Request, response: Response) -> Any:
    """Whether the service can answer, and what of it is missing. 503 while it cannot."""
    opening: Opening = request.app.state.opening
    try:
        workspace = opening.workspace()
    except BankSightError as error:
        response.status_code = 503
        state = "starting" if isinstance(error, Busy) else "unavailable"
        return schemas.Health(status=state, checks={}, detail=str(error))
    found = await asyncio.to_thread(health_of, workspace)
    response.status_code = 503 if found["status"] == "unavailable" else 200
    return found


@router.get("/livez", dependencies=[for_anyone()], response_class=PlainTextResponse, responses=errors())
async def livez() -> str:
    """200 for as long as the process serves requests."""
    return "ok\n"


@router.get("/readyz", dependencies=[for_anyone()], response_class=PlainTextResponse, responses=errors())
async def readyz(workspace: OpenWorkspace) -> str:
    """200 when questions can be answered: the workspace is open and the encoder has run once."""
    return "ok\n" if workspace else ""


@router.get("/metrics", dependencies=[for_anyone()], response_class=PlainTextResponse, responses=errors())
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format, added up over all processes of the service.

    Those of the engine (`llm_engine_…`) are the Generator's, or, without one, of the process that answers.
    """
    opening: Opening = request.app.state.opening
    return Response(await asyncio.to_thread(_metrics, opening), media_type=CONTENT_TYPE_LATEST)


def _metrics(opening: Opening) -> bytes:
    settings = opening.settings
    shared = recorded(settings.files_dir)
    if opening.state != "open":
        return exposition({}, settings.data_dir, _cards, shared)
    workspace = opening.workspace()
    stats = engine_stats(workspace.pipeline.engines)
    return exposition(stats, settings.data_dir, _cards, shared | registered(workspace.registry))
