"""What changed and what vanished since the last run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connectors.base import SourceItem
from connectors.errors import SourceMisconfigured, SourceUnavailable
from rag.domain import Document, DocumentOutcome, Outcome
from rag.errors import ConfigurationError
from rag.ingestion.run import Comparing, Run, Source
from rag.storage.registry import Registry


@dataclass(frozen=True, slots=True)
class Plan:
    changed: list[tuple[Source, SourceItem, Document | None]]
    vanished: list[Document]


def compare(
    sources: Sequence[Source],
    registry: Registry,
    rules: Comparing,
    run: Run,
    mass_delete: Literal["refuse", "allow"],
    retry: Literal["changed", "failed"],
) -> Plan:
    """What changed and what vanished since the last run. A source that cannot be listed loses nothing."""
    plan = Plan([], [])
    for source in sources:
        known = {document.id: document for document in registry.documents(source.connector.source)}
        try:
            items = list(source.connector.list_items())
        except (SourceUnavailable, SourceMisconfigured) as error:
            place = SourceItem("", source.connector.source, "", "")
            run.note(place, "failed", error)
            continue
        listed = {item.id for item in items}
        gone = [document for key, document in known.items() if key not in listed]
        if mass_delete == "refuse":
            _refuse_mass_delete(source, len(gone), len(known), rules)
        plan.vanished.extend(gone)
        for item in items:
            before = known.get(item.id)
            if _is_settled(item, before, source, rules, retry):
                run.outcomes.append(_unchanged(item, before))
            else:
                plan.changed.append((source, item, before))
    return plan


def _refuse_mass_delete(source: Source, gone: int, known: int, rules: Comparing) -> None:
    if known >= rules.mass_delete_floor and gone > known * rules.mass_delete_share:
        raise ConfigurationError(
            f"the source {source.connector.source} now lists {known - gone} of {known} documents; nothing was deleted. "
            "If that is right, run `banksight ingest --allow-mass-delete`; if not, check that its folder is mounted"
        )


def _is_settled(
    item: SourceItem, before: Document | None, source: Source, rules: Comparing, retry: Literal["changed", "failed"]
) -> bool:
    """True when there is nothing to do for this item."""
    if before is None:
        return False
    if before.state == "excluded":
        return True
    if before.state not in ("indexed", "failed", "quarantined") or before.fingerprint != item.fingerprint:
        return False
    if before.state == "failed" and retry == "failed":
        return False
    return (before.collection, before.tenant) == (source.collection, rules.tenant)


def _unchanged(item: SourceItem, before: Document | None) -> DocumentOutcome:
    """A document that failed before and has not changed is still a failure, and is reported as one."""
    outcomes: dict[str, Outcome] = {"failed": "failed", "quarantined": "quarantined", "excluded": "excluded"}
    if before is None or before.state not in outcomes:
        return DocumentOutcome(item.id, item.uri, "unchanged")
    return DocumentOutcome(item.id, item.uri, outcomes[before.state], before.reason, before.message)
