"""What operators do to a running service."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.principals import Caller, requires
from bentos.problems import Problem
from rag.errors import ConfigurationError
from rag.operations.backup_snapshot import take_snapshot
from rag.operations.reloading import Reload, Reloading

router = APIRouter(tags=["Operations"])


@router.post(
    "/v1/admin/reload",
    dependencies=[requires("operator")],
    response_model=schemas.Reload,
    responses=errors(409),
)
async def reload(request: Request, workspace: OpenWorkspace, caller: Caller) -> Any:
    """Read configuration and prompt templates again. What may change at run time counts from the next question on.

    409, and nothing has changed, when what was found is not valid.
    """
    reloading: Reloading = request.app.state.reloading

    def recorded() -> Reload:
        with workspace.receipts.action("configuration", caller) as outcome:
            found = reloading.reload()
            outcome |= {"changed": list(found.changed), "prompt_version": found.prompt_version}
            return found

    try:
        return await asyncio.to_thread(recorded)
    except ConfigurationError as error:
        raise Problem(409, error.code, f"Nothing was changed: {error}.") from error


@router.post(
    "/v1/admin/snapshot",
    dependencies=[requires("operator")],
    response_model=schemas.BackupSnapshot,
    responses=errors(),
)
async def snapshot(workspace: OpenWorkspace) -> Any:
    """Copy the corpus, as it is at one moment, beside the data folder, for a backup. 503 during an ingestion.

    It stays on this machine: `banksight backup create` encrypts it, saves it and deletes the copy.
    """
    return (await asyncio.to_thread(take_snapshot, workspace)).facts
