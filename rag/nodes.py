"""Opening the stores to write, as their one writer, or to read, beside any number of other processes and machines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine

from rag.ingestion import removing
from rag.ingestion.run import Stores
from rag.query.caching import Corpus
from rag.settings import Settings
from rag.storage.catalog import Catalog
from rag.storage.lease import WriterLease
from rag.storage.lexical import LexicalIndex
from rag.storage.originals import Originals
from rag.storage.registry import Registry
from rag.storage.replica import LexicalReplica, ReplicatedCorpus
from rag.storage.vectors import VectorIndex

Access = Literal["write", "read"]


@dataclass(frozen=True, slots=True)
class Opened:
    """The stores, and what guards them. `corpus` is what answers are kept for; `lease` the writer's, of many nodes."""

    stores: Stores
    corpus: Corpus
    lease: WriterLease | None


def open_stores(
    settings: Settings,
    access: Access,
    database: Engine,
    encoder: str,
    identify: Callable[[Registry], None],
    undo: ExitStack,
) -> Opened:
    """Open everything else, to be closed by `undo`. `identify` compares the index with this installation.

    Raises `Busy`, `StorageUnavailable`, `ConfigurationError` or `IndexMismatch`.
    """
    lease = None
    if access == "write" and settings.ingestion.serving == "worker":
        lease = WriterLease(database, settings.data_dir)
        undo.callback(lease.release)
    registry = Registry(database, lease.require if lease else None)
    identify(registry)
    vectors = _open_vectors(settings, encoder)
    undo.callback(vectors.close)
    catalog = Catalog(registry)
    corpus: Corpus = catalog
    if access == "read":
        replica = LexicalReplica(settings.data_dir / "lexical-replica", registry, catalog)
        undo.callback(replica.close)
        lexical, corpus = replica.start().index, ReplicatedCorpus(catalog, replica)
    else:
        lexical = LexicalIndex(settings.data_dir / "lexical")
        undo.callback(lexical.close)
    stores = Stores(registry, vectors, lexical, Originals(settings.files_dir / "originals"), catalog)
    if access == "write":
        vectors.settle()
        removing.recover(stores)
    return Opened(stores, corpus, lease)


def _open_vectors(settings: Settings, encoder: str) -> VectorIndex:
    storage = settings.storage
    if storage.chroma == "server":
        return VectorIndex.server(storage.chroma_host, storage.chroma_port, storage.chroma_timeout_seconds, encoder)
    return VectorIndex.embedded(settings.data_dir / "chroma", encoder)
