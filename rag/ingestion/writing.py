"""Writing a window of documents: announce, embed, write, commit, and only then delete what became stale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llama_index.core.schema import TextNode

from rag.domain import DocumentOutcome
from rag.ingestion.removing import discard, discard_originals
from rag.ingestion.run import Prepared, Run, Stores
from rag.models.embedding import MiniLM
from rag.storage.lexical import LexicalEntry
from rag.storage.vectors import Vector


def write(window: Sequence[Prepared], stores: Stores, encoder: MiniLM, run: Run) -> None:
    """Make these documents the versions that are retrieved."""
    versions = [prepared.version for prepared in window]
    stores.registry.begin(versions)
    vectors = _embed(window, stores, encoder, run)
    for prepared, rows in zip(window, vectors, strict=True):
        stores.originals.save(prepared.version.document.content_hash, prepared.content)
        _write_vectors(prepared, rows, stores)
        run.scopes.add(prepared.version.scope)
    stores.lexical.apply([lexical_entry(each.version.scope, node) for each in window for node in each.nodes], ())
    stale, _ = stores.registry.commit(versions)
    discard(stale, stores)
    discard_originals((prepared.replaced for prepared in window), stores)
    stores.catalog.refresh()
    for prepared in window:
        document = prepared.version.document
        run.done += 1
        run.pages += document.pages
        run.chunks += document.chunks
        run.outcomes.append(
            DocumentOutcome(document.id, document.uri, prepared.outcome, pages=document.pages, chunks=document.chunks)
        )


def _write_vectors(prepared: Prepared, rows: Vector, stores: Stores) -> None:
    """Add the vectors that are new and renew what is said about the others.

    A vector that is there already is the same, because its id covers all that is embedded; writing it again would only
    make HNSW link its node anew.
    """
    scope, document = prepared.version.scope, prepared.version.document
    live = stores.registry.chunk_pairs_of(document.id)
    new = [place for place, node in enumerate(prepared.nodes) if (scope, node.node_id) not in live]
    old = [node for node in prepared.nodes if (scope, node.node_id) in live]
    nodes = [prepared.nodes[place] for place in new]
    stores.vectors.upsert(scope, [n.node_id for n in nodes], rows[new], [_metadata(prepared, n) for n in nodes])
    stores.vectors.describe(scope, [n.node_id for n in old], [_metadata(prepared, n) for n in old])


def _embed(window: Sequence[Prepared], stores: Stores, encoder: MiniLM, run: Run) -> list[Vector]:
    """One float32[n, 384] per document. Texts that are indexed already lend their vector; equal texts share one."""
    hashes = [chunk.indexed_hash for prepared in window for chunk in prepared.version.chunks]
    texts = [text for prepared in window for text in prepared.texts]
    twins = stores.registry.twins(list(dict.fromkeys(hashes)))
    stored = stores.vectors.vectors(twins.values())
    known = {key: stored[pair[1]] for key, pair in twins.items() if pair[1] in stored}
    new = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
    known.update(zip(new, encoder.embed(list(new.values())), strict=True))
    run.embedded += len(new)
    rows = iter(hashes)
    return [np.stack([known[next(rows)] for _ in prepared.nodes]) for prepared in window]


def _metadata(prepared: Prepared, node: TextNode) -> dict[str, str | int]:
    """Flat scalars beside each vector, for people who look into Chroma; retrieval asks the catalog and the registry."""
    document = prepared.version.document
    return {
        "document_id": document.id,
        "title": document.title,
        "section": node.metadata["section"],
        "page": node.metadata["page"],
        "start": node.metadata["start"],
        "end": node.metadata["end"],
        "tenant": document.tenant,
        "access": ",".join(sorted(document.access)),
        "effective_from": str(document.effective_from or ""),
        "effective_to": str(document.effective_to or ""),
        "content_hash": document.content_hash,
    }


def lexical_entry(scope: str, node: TextNode) -> LexicalEntry:
    """What the lexical index gets of a chunk."""
    known = node.metadata
    return LexicalEntry(
        scope, node.node_id, known["document_id"], known["title"], known["section"], node.text, known.get("header", "")
    )
