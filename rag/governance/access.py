"""Whether somebody may still see what was found for them: the last look, at the registry itself.

Searches already ask only the scopes that a principal may read, and the catalog for each document. Both are memory,
which may be a fifth of a second old; this is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from rag.domain import Document, Passage, Principal
from rag.query.remembering import Remembered

REVOKED: Final = "access_revoked"  # why a sentence is withheld that was written from what may no longer be read

Live = Callable[[Iterable[str]], Mapping[str, Document]]
"""The documents of these ids that have a committed version, as the registry has them now."""


_REMEMBERED: Final = 10_000  # documents


class Corpus(Protocol):
    """What knows the documents, such as `rag.storage.registry.Registry`."""

    def snapshot(self) -> int:
        """The number that changes with every document and every label."""

    def live(self, document_ids: Iterable[str]) -> dict[str, Document]:
        """See `Live`."""


class LiveDocuments:
    """`Live` over a registry. It is asked for its snapshot each time, and for documents only when that has moved."""

    def __init__(self, registry: Corpus) -> None:
        self._registry = registry
        self._known: Remembered[Document] = Remembered(_REMEMBERED)

    def __call__(self, document_ids: Iterable[str]) -> Mapping[str, Document]:
        """See `Live`."""
        return self._known.get(self._registry.snapshot(), list(document_ids), self._registry.live)


def still_readable(passages: Sequence[Passage], principal: Principal, live: Live) -> list[Passage]:
    """Those of the passages whose documents the principal may read at this moment."""
    documents = live({passage.document_id for passage in passages})
    return [each for each in passages if _may_read(principal, documents.get(each.document_id))]


def may_read_all(document_ids: Iterable[str], principal: Principal, live: Live) -> bool:
    """Whether the principal may read every one of these documents at this moment."""
    wanted = set(document_ids)
    documents = live(wanted)
    return all(_may_read(principal, documents.get(each)) for each in wanted)


def _may_read(principal: Principal, document: Document | None) -> bool:
    return document is not None and principal.may_read(document.tenant, document.access)
