"""The caller: who the service takes them for, and signing out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.principals import Caller, requires
from rag.settings.identity import ROLES

router = APIRouter(tags=["Sign-in"])


@router.get("/v1/me", dependencies=[requires(*ROLES)], response_model=schemas.Person, responses=errors())
async def get_me(caller: Caller) -> Any:
    """Who you are here: the subject, tenant, roles and clearances that your key or token stands for."""
    return schemas.Person(
        subject=caller.subject,
        tenant=caller.tenant,
        roles=sorted(caller.roles),
        clearances=sorted(caller.clearances),
    )


@router.post("/v1/logout", dependencies=[requires(*ROLES)], status_code=204, responses=errors())
async def log_out(request: Request, workspace: OpenWorkspace) -> Response:
    """Make the key or token of this request stop counting, on every node within a second."""
    await workspace.authentication.sign_out(request.headers.get("authorization"))
    return Response(status_code=204)
