"""Who may see which document on which day: the registry's documents, held in memory.

Retrieval asks it for every candidate, so it answers from a dictionary. It looks at the registry's snapshot at most
five times a second and reloads when that moved; therefore a change of labels counts everywhere within a second.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rag.domain import Document, Principal, SearchFilter
from rag.errors import QuestionError
from rag.storage.registry import Registry

_LOOK_EVERY_SECONDS = 0.2


def scope_name(tenant: str, collection: str, access: Iterable[str]) -> str:
    """The Chroma collection for documents of one tenant, one collection and one exact set of labels.

    A filter inside Chroma costs time in proportion to what matches; a collection costs nothing.
    """
    digest = hashlib.sha256(json.dumps([tenant, sorted(access)]).encode()).hexdigest()[:12]
    return f"{collection}-{digest}"


@dataclass(frozen=True, slots=True)
class _Entry:
    document: Document
    scope: str
    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class _View:
    """One consistent state of the corpus."""

    snapshot: int
    entries: dict[str, _Entry]
    # One document for each set of labels that documents of the scope have: people may have added some to a few of them.
    by_scope: dict[str, tuple[Document, ...]]
    labels: frozenset[str]  # that some document has


class Catalog:
    """Visibility of documents, at document level. Thread-safe: a reload swaps one reference."""

    def __init__(self, registry: Registry, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._registry = registry
        self._today = today
        self._lock = threading.Lock()
        self._looked = 0.0
        self._view = _View(-1, {}, {}, frozenset())
        self.refresh()

    @property
    def snapshot(self) -> int:
        """The snapshot that answers are given from."""
        return self._current().snapshot

    def refresh(self) -> int:
        """Look at the registry now. Returns the snapshot."""
        with self._lock:
            snapshot = self._registry.snapshot()
            if snapshot != self._view.snapshot:
                self._view = _load(snapshot, self._registry.indexed())
            self._looked = time.monotonic()
            return snapshot

    def scopes(self, principal: Principal, narrow: SearchFilter) -> list[str]:
        """The Chroma collections that may hold something for this principal, in a stable order.

        Raises `QuestionError` for a collection in which the principal may read nothing, whether it exists or not.
        """
        known = self.collections(principal)
        for name in narrow.collections:
            if name not in known:
                there = ", ".join(known) or "none"
                raise QuestionError(f"unknown collection {name!r}; collections that you may search: {there}")
        return sorted(
            scope
            for scope, examples in self._current().by_scope.items()
            if any(principal.may_read(each.tenant, each.access) for each in examples)
            and (not narrow.collections or examples[0].collection in narrow.collections)
        )

    def labels(self, principal: Principal) -> list[str]:
        """Those of the principal's clearances that make a difference, because some document has that label."""
        return sorted(principal.clearances & self._current().labels)

    def visible(self, document_id: str, principal: Principal, narrow: SearchFilter) -> bool:
        """True when the principal may read the document, it is in force on the day asked for, and the filter fits."""
        return bool(self.visible_among([document_id], principal, narrow))

    def visible_among(self, document_ids: Iterable[str], principal: Principal, narrow: SearchFilter) -> set[str]:
        """Those of these documents that are `visible`, all looked up in one state of the corpus."""
        entries = self._current().entries
        day = narrow.as_of or self._today()
        seen = set()
        for document_id in document_ids:
            entry = entries.get(document_id)
            if (
                entry is not None
                and entry.first_day <= day <= entry.last_day
                and principal.may_read(entry.document.tenant, entry.document.access)
                and (not narrow.document_ids or document_id in narrow.document_ids)
                and (not narrow.collections or entry.document.collection in narrow.collections)
            ):
                seen.add(document_id)
        return seen

    def document(self, document_id: str) -> Document | None:
        """The document, or None when it has no committed version. Says nothing about who may see it."""
        entry = self._current().entries.get(document_id)
        return entry.document if entry else None

    def collection(self, document_id: str) -> str:
        """The collection of a document; empty when it is not live."""
        document = self.document(document_id)
        return document.collection if document else ""

    def scope(self, document_id: str) -> str:
        """The scope of a document; empty when it is not live."""
        entry = self._current().entries.get(document_id)
        return entry.scope if entry else ""

    def collections(self, principal: Principal) -> list[str]:
        """The names of the collections in which the principal may read something."""
        examples = (each for some in self._current().by_scope.values() for each in some)
        return sorted({each.collection for each in examples if principal.may_read(each.tenant, each.access)})

    def visible_ids(self, principal: Principal, narrow: SearchFilter) -> list[str]:
        """The ids of all documents that a search with this filter covers."""
        return list(self.visible_among(self._current().entries, principal, narrow))

    def count(self, principal: Principal, narrow: SearchFilter) -> int:
        """How many documents a search with this filter covers."""
        return len(self.visible_ids(principal, narrow))

    def _current(self) -> _View:
        if time.monotonic() - self._looked > _LOOK_EVERY_SECONDS:
            self.refresh()
        return self._view


def _load(snapshot: int, documents: list[tuple[Document, str]]) -> _View:
    ends = _superseded(document for document, _ in documents)
    entries = {}
    for document, scope in documents:
        last = min(document.effective_to or date.max, ends.get((document.source, document.uri), date.max))
        entries[document.id] = _Entry(document, scope, document.effective_from or date.min, last)
    by_scope: dict[str, dict[frozenset[str], Document]] = {}
    for document, scope in documents:
        by_scope.setdefault(scope, {})[document.access] = document
    labels = frozenset().union(*(document.access for document, _ in documents))
    return _View(snapshot, entries, {scope: tuple(some.values()) for scope, some in by_scope.items()}, labels)


def _superseded(documents: Iterable[Document]) -> dict[tuple[str, str], date]:
    """The last day in force of each `(source, uri)` that another document supersedes.

    That is the day before the successor comes into force; a successor without a date replaces it for every day.
    """
    ends: dict[tuple[str, str], date] = {}
    for document in documents:
        if document.supersedes:
            key = (document.source, document.supersedes)
            begins = document.effective_from
            end = begins - timedelta(days=1) if begins and begins > date.min else date.min
            ends[key] = min(end, ends.get(key, date.max))
    return ends
