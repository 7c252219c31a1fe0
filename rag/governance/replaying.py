"""Answering a recorded question again, and saying what differs from what was recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from rag.domain import Answer, Principal, SearchFilter
from rag.errors import BankSightError, NotFound
from rag.governance.audit_lines import Record
from rag.governance.receipts import answer_facts
from rag.governance.subjects import SubjectKeys
from rag.query.events import AskRequest, Completed, StageFinished, Turn

if TYPE_CHECKING:
    from rag.bootstrap import Workspace

_COMPARED: Final = {
    "status": "the outcome",
    "reason": "the reason",
    "engine": "the engine",
    "model": "the model",
    "prompt_version": "the prompt",
    "conditions": "software, models or settings",
}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a repetition. `differences` are sentences; empty when everything is as recorded."""

    receipt_id: str
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether passages, answer and conditions are those of the record."""
        return not self.differences


def replay(workspace: Workspace, receipt_id: str) -> Replayed:
    """Answer again with the recorded rights, on the recorded day, without the cache. Leaves no receipt.

    Raises `NotFound` for a receipt that is none of an answer, or whose question nobody can read any more.
    """
    records = workspace.receipts.find(receipt_id)
    asked = opened_request(records, workspace.receipts.subjects)
    recorded = records[-1].body
    if records[-1].kind != "answer" or "answer_sha256" not in recorded:
        status = recorded.get("status", "open")
        raise NotFound(f"receipt {receipt_id} has no whole answer to compare with (its end is {status!r})")
    try:
        answer, read = asyncio.run(_answer(workspace, asked, records[0].body))
    except BankSightError as error:
        return Replayed(receipt_id, (f"now the question fails: {error}",))
    now = answer_facts(answer, read) | workspace.answers.conditions()
    return Replayed(receipt_id, tuple(_differences(recorded, now, workspace)))


def opened_request(records: Sequence[Record], subjects: SubjectKeys) -> dict[str, Any]:
    """What was asked. Raises `NotFound` where nothing was, or where the person's key was erased."""
    first = records[0]
    if first.kind != "question":
        raise NotFound(f"receipt {first.id} is of a {first.kind}, not of a question")
    key = subjects.by_pseudonym(first.who)
    if key is None:
        raise NotFound(f"the question of receipt {first.id} cannot be read any more: whoever asked it was erased")
    content = key.unseal(first.body["sealed"], first.id)
    if content is None:
        raise NotFound(f"the question of receipt {first.id} is not what was sealed; run `banksight audit verify`")
    found: dict[str, Any] = json.loads(content.decode("utf-8", "surrogatepass"))
    return found


async def _answer(
    workspace: Workspace, asked: Mapping[str, Any], recorded: Mapping[str, Any]
) -> tuple[Answer, dict[str, Any]]:
    person = Principal("replay", recorded["tenant"], frozenset(recorded["roles"]), frozenset(asked["clearances"]))
    narrow = SearchFilter(date.fromisoformat(asked["as_of"]), tuple(asked["collections"]), tuple(asked["document_ids"]))
    turns = tuple(Turn(role, content) for role, content in asked["history"])
    read: dict[str, Any] = {}
    request = AskRequest(asked["question"], turns, narrow, fresh=True)
    async with aclosing(workspace.pipeline.stream(request, person)) as events:
        async for event in events:
            if isinstance(event, StageFinished) and event.stage in ("retrieve", "verify"):
                read |= event.detail
            elif isinstance(event, Completed):
                return event.answer, read
    raise NotFound("the answer ended before it was complete; try again")


def _differences(recorded: Mapping[str, Any], now: Mapping[str, Any], workspace: Workspace) -> list[str]:
    told = [
        f"{what} was {recorded.get(name) or 'none'} and is {now[name] or 'none'}"
        for name, what in _COMPARED.items()
        if recorded.get(name) != now[name]
    ]
    before, after = recorded["passages"], now["passages"]
    if before != after:
        kept = sum(1 for each in before if each in after)
        order = "" if kept < len(before) or kept < len(after) else ", in another order"
        told.append(f"{kept} of {len(before)} passages are read again{order}; {len(after)} are read now")
    if recorded["answer_sha256"] != now["answer_sha256"]:
        same = sum(1 for each in recorded["sentences"] if each in now["sentences"])
        told.append(f"the answer is another: {same} of its {len(recorded['sentences'])} sentences are said again")
    elif recorded["citations"] != now["citations"]:
        told.append("the same answer cites other places")
    if recorded["snapshot"] != now["snapshot"]:
        told += _changed_documents(recorded, workspace)
    return told


def _changed_documents(recorded: Mapping[str, Any], workspace: Workspace) -> list[str]:
    """Which documents are not as they were in the recorded snapshot."""
    chunk_ids = [chunk_id for chunk_id, _ in recorded["passages"]]
    live = workspace.registry.passages(chunk_ids)
    gone = sorted({each.split("-")[0] for each in chunk_ids if each not in live})
    documents = workspace.registry.documents()
    known = {each.id for each in documents}
    told = [f"document {each} {'has another version' if each in known else 'was deleted'} since" for each in gone]
    newer = sum(1 for each in documents if each.snapshot_added > recorded["snapshot"] and each.id not in gone)
    if newer:
        told.append(f"{newer} other documents were added or changed since")
    return told or ["the corpus has another snapshot, without a change to what was read"]
