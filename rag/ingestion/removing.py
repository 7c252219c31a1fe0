"""Taking documents out of every store, and cleaning up what a killed run left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rag.domain import Document
from rag.ingestion import uploads
from rag.ingestion.run import Stores
from rag.storage.catalog import scope_name
from rag.storage.registry import Pair, Registry

logger = logging.getLogger(__name__)

_RUN = "run"  # key of the registry's state table
_BEGUN, _ENDED = "begun", "ended"


@contextmanager
def unfinished(stores: Stores) -> Iterator[None]:
    """Remember, for `recover`, that writing has begun; forget it when the block ends without an error."""
    before = stores.registry.value(_RUN) or _ENDED
    stores.registry.set_value(_RUN, _BEGUN)
    yield
    stores.registry.set_value(_RUN, before)


def is_settled(registry: Registry) -> bool:
    """True when `recover` would find nothing to do."""
    return registry.value(_RUN) != _BEGUN and registry.pending() == (set(), set())


def recover(stores: Stores) -> int:
    """Clean up what a killed run left in every store. Returns how many chunks of Chroma and the lexical index went."""
    stale, live = stores.registry.pending()
    discard(stale, stores)
    stores.registry.forget(live)
    if stores.registry.value(_RUN) == _BEGUN:
        stores.originals.keep_only(stores.registry.content_hashes())
        for scope in sorted({scope for scope, _ in stores.registry.chunk_pairs()}):
            stores.vectors.relink(scope)
        stores.registry.set_value(_RUN, _ENDED)
        logger.warning("cleaned up %d chunks of an interrupted run", len(stale))
    return len(stale)


def discard(stale: set[Pair], stores: Stores) -> None:
    """Delete chunks from Chroma and the lexical index, then strike them from the journal."""
    if stale:
        stores.vectors.delete(stale)
        stores.lexical.apply((), stale)
        stores.registry.forget(stale)


def remove_documents(documents: Sequence[Document], stores: Stores) -> None:
    """Delete documents everywhere: registry, Chroma, lexical index, and originals that nobody else refers to."""
    if not documents:
        return
    with unfinished(stores):
        discard(stores.registry.remove([document.id for document in documents]), stores)
        discard_originals((document.content_hash for document in documents), stores)
    stores.catalog.refresh()


def delete(document: Document, stores: Stores, files_dir: Path) -> None:
    """Delete a document everywhere, an uploaded one with its file; no source brings it back."""
    if uploads.delete_file(files_dir, document):
        remove_documents([document], stores)
    else:
        exclude_document(document, stores)


def exclude_document(document: Document, stores: Stores) -> None:
    """Delete a document everywhere but remember that it was deleted, so that its source does not bring it back."""
    excluded = replace(document, state="excluded", content_hash="", pages=0, chunks=0, reason="deleted")
    scope = scope_name(document.tenant, document.collection, document.access)
    with unfinished(stores):
        discard(stores.registry.withdraw(excluded, scope), stores)
        discard_originals([document.content_hash], stores)
    stores.catalog.refresh()


def discard_originals(content_hashes: Iterable[str], stores: Stores) -> None:
    """Delete those of these originals that no document refers to any more."""
    stores.originals.discard(stores.registry.unreferenced(content_hashes))
