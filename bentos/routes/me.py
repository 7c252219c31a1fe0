"""The caller: who the service takes them for, and signing out."""

from __future__ import annotations

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from bentos import consent_schemas, schemas
from bentos.contract import Jobs, OpenWorkspace, errors
from bentos.principals import Caller, requires
from rag.errors import QuestionError
from rag.governance.erasure_records import queue
from rag.governance.exporting import write_export
from rag.settings.identity import ROLES

router = APIRouter(tags=["Sign-in"])
_WAIT_SECONDS = 20.0  # for an erasure; it goes on afterwards
_LOOK_EVERY_SECONDS = 0.1
_ARCHIVE: dict[str, Any] = {
    "description": "A ZIP archive with `export.json` and your uploaded files.",
    "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
}


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


@router.get(
    "/v1/me/consent", dependencies=[requires(*ROLES)], response_model=consent_schemas.ConsentList, responses=errors()
)
async def get_consent(workspace: OpenWorkspace, caller: Caller) -> Any:
    """The purposes for which personal data are used here, their texts, and what you said to each."""
    return {"consents": await asyncio.to_thread(workspace.personal.consents.of, caller)}


@router.post(
    "/v1/me/consent",
    dependencies=[requires(*ROLES)],
    response_model=consent_schemas.ConsentList,
    responses=errors(400, 409, 413),
)
async def give_consent(said: consent_schemas.ConsentRequest, workspace: OpenWorkspace, caller: Caller) -> Any:
    """Agree to a purpose, in the version whose text you read. 409 when there is a newer text."""
    await asyncio.to_thread(workspace.personal.consents.give, caller, said.purpose, said.version)
    return await get_consent(workspace, caller)


@router.delete(
    "/v1/me/consent", dependencies=[requires(*ROLES)], response_model=consent_schemas.ConsentList, responses=errors()
)
async def withdraw_consent(
    workspace: OpenWorkspace, caller: Caller, purpose: Annotated[str, Query(pattern=consent_schemas.PURPOSE)]
) -> Any:
    """Agree no longer to a purpose, at once. With `service`, nobody can read any more what you asked until now."""
    await asyncio.to_thread(workspace.personal.consents.withdraw, caller, purpose)
    return await get_consent(workspace, caller)


@router.get(
    "/v1/me/export", dependencies=[requires(*ROLES)], response_class=FileResponse, responses={200: _ARCHIVE, **errors()}
)
async def export(workspace: OpenWorkspace, caller: Caller) -> FileResponse:
    """What is kept about you, as a ZIP archive: consents, keys, what you asked and did, what you uploaded."""
    with tempfile.NamedTemporaryFile(prefix="banksight-export-", suffix=".zip", delete=False) as file:
        target = Path(file.name)
    uploaded = partial(workspace.original, principal=caller)
    await asyncio.to_thread(write_export, target, caller, workspace.personal, uploaded)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    gone = BackgroundTask(target.unlink, missing_ok=True)
    return FileResponse(target, 200, headers, "application/zip", gone, "banksight-export.zip")


@router.delete("/v1/me", dependencies=[requires(*ROLES)], response_model=consent_schemas.Erasure, responses=errors())
async def erase_me(
    response: Response,
    workspace: OpenWorkspace,
    jobs: Jobs,
    caller: Caller,
    confirm: Annotated[str, Query(max_length=255, description="Your own subject, as `GET /v1/me` tells it.")],
) -> Any:
    """Erase what is kept about you: keys, uploads, their vectors, conversations, consents, and your name in the trail.

    Your keys and tokens end. 200 with the certificate, or 202 when it takes longer: then it goes on, whatever happens,
    and an auditor finds the certificate under `GET /v1/erasures/{id}`. It cannot be undone.
    """
    if confirm != caller.subject:
        raise QuestionError("confirm is not your subject, as GET /v1/me tells it, so nothing was erased")
    erasures = workspace.personal.erasures
    erasure_id = await asyncio.to_thread(erasures.ask, caller.tenant, caller.subject, "person")
    await asyncio.to_thread(queue, erasure_id, jobs)
    ends = time.monotonic() + _WAIT_SECONDS
    certificate = None
    while certificate is None and time.monotonic() < ends:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        certificate = await asyncio.to_thread(erasures.certificate, erasure_id)
    response.status_code = 200 if certificate else 202
    return {"id": erasure_id, "certificate": certificate}


@router.get(
    "/v1/erasures/{erasure_id}",
    dependencies=[requires("auditor")],
    response_model=consent_schemas.Erasure,
    responses=errors(404),
)
async def get_erasure(
    workspace: OpenWorkspace, erasure_id: Annotated[str, PathParameter(pattern=consent_schemas.ERASURE_ID)]
) -> Any:
    """The certificate of an erasure; null while it is not done."""
    certificate = await asyncio.to_thread(workspace.personal.erasures.certificate, erasure_id)
    return {"id": erasure_id, "certificate": certificate}
