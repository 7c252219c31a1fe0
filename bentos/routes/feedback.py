"""What people say about the answers that they got."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response

from bentos import schemas
from bentos.contract import OpenWorkspace, errors
from bentos.principals import Caller, requires
from rag.domain import Principal
from rag.errors import NotFound
from rag.governance.audit_lines import Record
from rag.governance.receipts import Receipts

router = APIRouter(tags=["Questions"])


@router.post("/v1/feedback", dependencies=[requires("user")], status_code=204, responses=errors(404))
async def give_feedback(given: schemas.Feedback, workspace: OpenWorkspace, caller: Caller) -> Response:
    """Judge an answer of your own, by its receipt. It becomes a record of the audit trail, the comment sealed.

    The last word counts; `withdrawn` takes a judgement back. Others' answers look absent. After `down` nobody gets this
    answer from what was kept; for as long as answers are kept, the question is answered anew each time.
    """
    receipts = workspace.receipts
    records = await asyncio.to_thread(_own, receipts, given.receipt_id, caller)
    said = {"answer": given.receipt_id, "value": given.value, "reason": given.reason}
    await receipts.recorded("feedback", caller, **said, hidden={"comment": given.comment} if given.comment else None)
    texts = [each.body["answer_sha256"] for each in records if "answer_sha256" in each.body]
    if given.value == "down" and texts:
        await asyncio.to_thread(workspace.disputes.add, texts[-1])
    return Response(status_code=204)


def _own(receipts: Receipts, receipt_id: str, caller: Principal) -> list[Record]:
    """The records of an answer of this person."""
    records = receipts.find(receipt_id)
    first = records[0]
    if first.kind != "question" or first.who != receipts.subjects.of(caller).pseudonym:
        raise NotFound(f"there is no answer of yours with the receipt {receipt_id!r}")
    return records
