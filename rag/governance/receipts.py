"""A receipt for every answer and every action: durable before anybody gets the result.

A question is recorded before the first word of its answer goes out, the answer before its end does; so an answer that
a killed process left half told has a receipt as well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from rag.domain import Answer, Principal
from rag.errors import BankSightError, Full
from rag.governance.audit_lines import Kind, Record, audit_keys, digest
from rag.governance.audit_reading import records_of
from rag.governance.audit_writer import AuditWriter, places_of
from rag.governance.subjects import SubjectKey, SubjectKeys
from rag.query.conditions import conditions_of
from rag.query.events import AskRequest, Completed, Event, StageFinished, answer_of
from rag.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

_NOTED: Final = "audited_configuration"
_READ: Final = ("retrieve", "verify")  # stages whose details name passages


class Answering(Protocol):
    """What answers, such as `rag.query.pipeline.QueryPipeline`."""

    def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The events of an answer."""

    def reconfigure(self, settings: Settings, encoder: str) -> None:
        """Use these settings from now on."""


class Values(Protocol):
    """What remembers texts by key, such as `rag.storage.registry.Registry`."""

    def value(self, key: str) -> str | None:
        """What was remembered."""

    def set_value(self, key: str, value: str) -> None:
        """Remember it."""


class Receipts:
    """Records what people do, under pseudonyms."""

    def __init__(self, writer: AuditWriter, subjects: SubjectKeys) -> None:
        self.writer = writer
        self.subjects = subjects

    def record(self, kind: Kind, principal: Principal | None, **body: Any) -> str:
        """The receipt of something done by this person, or by the system. Blocks until it is durable.

        Text that may name somebody belongs into `hidden`, which only their key opens. Raises `StorageUnavailable`.
        """
        hidden = body.pop("hidden", None)
        receipt_id = self.writer.new_id()
        who = self.subjects.of(principal) if principal else None
        if who and hidden is not None:
            body["sealed"] = who.seal(json.dumps(hidden, ensure_ascii=False).encode(), receipt_id)
        roles = {"tenant": principal.tenant, "roles": sorted(principal.roles)} if principal else {}
        return self.writer.append(kind, who.pseudonym if who else "", {**roles, **body}, receipt_id).result()

    async def recorded(self, kind: Kind, principal: Principal | None, **body: Any) -> str:
        """The same, for the event loop."""
        return await asyncio.to_thread(lambda: self.record(kind, principal, **body))

    @contextmanager
    def action(self, kind: Kind, principal: Principal | None, **body: Any) -> Iterator[dict[str, Any]]:
        """Record that something begins, and, when the block ends, how: with what was put into the mapping, or failed.

        Raises `StorageUnavailable` before the block when it cannot be recorded.
        """
        receipt_id = self.record(kind, principal, **body)
        outcome: dict[str, Any] = {}
        try:
            yield outcome
        except BaseException as error:
            code = error.code if isinstance(error, BankSightError) else "internal"
            self.writer.append(kind, "", {"outcome": "failed", "reason": code}, receipt_id)
            raise
        self.writer.append(kind, "", {"outcome": "done", **outcome}, receipt_id).result()

    def find(self, receipt_id: str) -> list[Record]:
        """The records of a receipt, in order. Raises `NotFound`. Blocks."""
        return records_of(receipt_id, self.writer.places, self.writer.key)

    def close(self) -> None:
        """Write what waits, and give the chain back."""
        self.writer.close()


class RecordedAnswers:
    """Answers as another does, with a receipt for each."""

    def __init__(self, answers: Answering, receipts: Receipts, conditions: Callable[[], dict[str, Any]]) -> None:
        """`conditions` says what an answer depends on besides question, asker and corpus."""
        self.inner = answers
        self._receipts = receipts
        self.conditions = conditions

    def reconfigure(self, settings: Settings, encoder: str = "") -> None:
        """Use these settings from now on."""
        self.inner.reconfigure(settings, encoder)
        self.conditions = _conditions(settings, encoder)

    async def ask(self, request: AskRequest, principal: Principal) -> Answer:
        """The answer. Raises as `stream` does."""
        return await answer_of(self.stream(request, principal))

    async def stream(self, request: AskRequest, principal: Principal) -> AsyncGenerator[Event, None]:
        """The events of the answer. Raises `StorageUnavailable` when it cannot be recorded: then nobody gets it."""
        writer = self._receipts.writer
        receipt_id = writer.new_id()
        who = await asyncio.to_thread(self._receipts.subjects.of, principal)
        asked: asyncio.Future[str] | None = None

        def recorded() -> asyncio.Future[str]:
            body = _question(request, principal, who, receipt_id)
            return asyncio.wrap_future(writer.append("question", who.pseudonym, body, receipt_id))

        read: dict[str, Any] = {}
        ending: dict[str, Any] = {"status": "broken_off"}
        try:
            async with aclosing(self.inner.stream(request, principal)) as events:
                async for event in events:
                    asked = asked or recorded()
                    await asked
                    if isinstance(event, StageFinished) and event.stage in _READ:
                        read |= event.detail
                    if not isinstance(event, Completed):
                        yield event
                        continue
                    body = answer_facts(event.answer, read) | self.conditions()
                    ending = {}
                    await asyncio.wrap_future(writer.append("answer", who.pseudonym, body, receipt_id))
                    yield Completed(replace(event.answer, receipt_id=receipt_id))
                    return
        except BankSightError as error:
            turned_away = asked is None and isinstance(error, Full)  # at the door: nothing was done for anybody
            ending = {} if turned_away else ending and {"status": "failed", "reason": error.code}
            raise
        finally:
            if ending:  # nobody waits for this one: what it is about has ended
                asked = asked or recorded()
                writer.append("answer", who.pseudonym, ending, receipt_id)
                asked.cancel()


def _question(request: AskRequest, principal: Principal, who: SubjectKey, receipt_id: str) -> dict[str, Any]:
    """What a repetition needs. Words, and labels that may name a person, are for the holder of the person's key."""
    narrow = request.narrow
    day = narrow.as_of or datetime.now(UTC).date()
    hidden = {
        "question": request.question,
        "history": [[turn.role, turn.content] for turn in request.history],
        "as_of": day.isoformat(),
        "collections": list(narrow.collections),
        "document_ids": list(narrow.document_ids),
        "clearances": sorted(principal.clearances),
    }
    return {
        "tenant": principal.tenant,
        "roles": sorted(principal.roles),
        "question_hmac": who.digest(request.question),
        "sealed": who.seal(json.dumps(hidden, ensure_ascii=False).encode("utf-8", "surrogatepass"), receipt_id),
    }


def answer_facts(answer: Answer, read: dict[str, Any]) -> dict[str, Any]:
    """What is recorded of an answer. `read` has the details of its stages `retrieve` and `verify`."""
    passages = read.get("read") or read.get("passages") or []
    return {
        "answer_id": answer.id,
        "status": answer.status,
        "reason": answer.reason,
        "degraded": answer.degraded,
        "cached": answer.cached,
        "snapshot": answer.snapshot,
        "passages": [[each.get("chunk_id", ""), each.get("sha256", "")] for each in passages],
        "citations": [
            [each.document_id, each.page, each.start, each.end, digest(each.quote.encode("utf-8", "surrogatepass"))]
            for each in answer.citations
        ],
        "answer_sha256": digest(answer.text.encode("utf-8", "surrogatepass")),
        "sentences": [digest(each.text.encode("utf-8", "surrogatepass")) for each in answer.checks if each.supported],
        "engine": answer.engine,
        "model": answer.model,
        "prompt_version": answer.prompt_version,
    }


def _conditions(settings: Settings, encoder: str) -> Callable[[], dict[str, Any]]:
    chosen = settings.generation
    facts = {
        "conditions": conditions_of(settings, encoder),
        "decoding": {
            "temperature": str(chosen.temperature),
            "top_p": str(chosen.top_p),
            "seed": chosen.seed,
            "max_tokens": chosen.max_tokens,
            "stop": list(chosen.stop),
        },
    }
    return lambda: facts


def open_receipts(settings: Settings, database: Engine) -> Receipts:
    """The trail of these settings. Raises `ConfigurationError` or `StorageUnavailable`."""
    keys = audit_keys(settings.audit.secret.get_secret_value(), settings.data_dir)
    return Receipts(AuditWriter(places_of(settings), keys), SubjectKeys(database, keys))


def recorded_answers(answers: Answering, receipts: Receipts, settings: Settings, encoder: str) -> RecordedAnswers:
    """The same answers, each with a receipt."""
    return RecordedAnswers(answers, receipts, _conditions(settings, encoder))


def note_configuration(settings: Settings, receipts: Receipts, registry: Values) -> None:
    """Record the configuration where it is not the one that was recorded last. Secrets are not part of it."""
    facts = digest(settings.model_dump_json(exclude={"root", "data_dir"}).encode())
    if registry.value(_NOTED) != facts:
        receipts.record("configuration", None, settings_sha256=facts, profile=settings.profile)
        registry.set_value(_NOTED, facts)
