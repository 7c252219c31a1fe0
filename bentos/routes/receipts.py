"""Receipts of what was answered and done."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.principals import Caller, requires
from rag.errors import NotFound
from rag.governance.audit_lines import RECEIPT_ID

router = APIRouter(tags=["Audit"])


@router.get(
    "/v1/receipts/{receipt_id}",
    dependencies=[requires("auditor")],
    response_model=schemas.Receipt,
    responses=errors(404),
)
async def get_receipt(
    receipt_id: Annotated[str, Path(pattern=RECEIPT_ID)], workspace: OpenWorkspace, caller: Caller
) -> Any:
    """What was recorded: who (a pseudonym) asked or did what, from which passages, with which model and result.

    What was asked is in `sealed`, for who holds the person's key. That you looked is recorded as well.
    """
    records = await asyncio.to_thread(workspace.receipts.find, receipt_id)
    if records[0].body.get("tenant") not in (None, caller.tenant):
        raise NotFound(f"there is no receipt {receipt_id!r} here")
    await workspace.receipts.recorded("export", caller, receipt=receipt_id)
    return {"id": receipt_id, "records": [asdict(each) for each in records]}
