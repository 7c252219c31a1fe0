"""`banksight index check`: registry, Chroma, lexical index and originals, compared id by id, texts by their digests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rag.ingestion.removing import recover, remove_documents
from rag.ingestion.run import Stores
from rag.ingestion.splitting import indexed_text, is_intact
from rag.ingestion.writing import lexical_entry
from rag.models.embedding import MiniLM
from rag.storage.records import StoredChunk
from rag.storage.registry import Pair

_TOGETHER = 512
_DOCUMENTS_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Consistency:
    """What differs from the registry, before a repair. All zero means that everything agrees."""

    documents: int
    chunks: int
    interrupted: int
    missing_vectors: int
    surplus_vectors: int
    unreachable_vectors: int
    missing_lexical: int
    surplus_lexical: int
    missing_originals: int  # or damaged
    damaged_texts: int  # chunks that the registry does not hold as they were read
    repaired: bool

    @property
    def agrees(self) -> bool:
        """True when nothing differs."""
        return not (
            self.interrupted or self.missing_vectors or self.surplus_vectors or self.unreachable_vectors
            or self.missing_lexical
            or self.surplus_lexical or self.missing_originals or self.damaged_texts
        )  # fmt: skip


def check(stores: Stores, encoder: MiniLM, repair: Literal["report", "repair"]) -> Consistency:
    """Compare, and on request make Chroma and the lexical index equal to the registry.

    A lost or damaged original is repaired by reading its source again: the next ingestion does that. So is a document
    with a damaged text, which is removed until then.
    """
    interrupted = len(stores.registry.pending()[0])
    lost, damaged = _lost_originals(stores), _damaged(stores)
    if repair == "repair":
        recover(stores)
        remove_documents([stores.registry.document(each) for each in damaged], stores)
    wanted = stores.registry.chunk_pairs()
    vectors, lexical = stores.vectors.ids(), stores.lexical.ids()
    found = Consistency(
        documents=len(stores.registry.indexed()),
        chunks=len(wanted),
        interrupted=interrupted,
        missing_vectors=len(wanted - vectors),
        surplus_vectors=len(vectors - wanted),
        unreachable_vectors=sum(len(stores.vectors.unreachable(scope)) for scope in {pair[0] for pair in vectors}),
        missing_lexical=len(wanted - lexical),
        surplus_lexical=len(lexical - wanted),
        missing_originals=len(lost),
        damaged_texts=sum(damaged.values()),
        repaired=repair == "repair",
    )
    if repair == "repair":
        stores.vectors.delete(vectors - wanted)
        stores.lexical.apply((), lexical - wanted)
        _add_vectors(sorted(wanted - vectors), stores, encoder)
        for scope in sorted({pair[0] for pair in wanted}):
            stores.vectors.relink(scope)
        _add_lexical(sorted(wanted - lexical), stores)
        for document_id, content_hash in lost.items():
            stores.originals.discard([content_hash])
            stores.registry.touch(document_id, "")
        stores.originals.keep_only(stores.registry.content_hashes())
    return found


def _lost_originals(stores: Stores) -> dict[str, str]:
    """The digests of originals that are not there whole, by document."""
    indexed = [document for document, _ in stores.registry.indexed()]
    return {each.id: each.content_hash for each in indexed if not stores.originals.is_whole(each.content_hash)}


def _damaged(stores: Stores) -> Counter[str]:
    """How many chunks say something else than was embedded, by document."""
    found: Counter[str] = Counter()
    ids = [document.id for document, _ in stores.registry.indexed()]
    for start in range(0, len(ids), _DOCUMENTS_TOGETHER):
        chunks = stores.registry.chunks_of(ids[start : start + _DOCUMENTS_TOGETHER])
        found.update(chunk.document_id for _, chunk in chunks if not is_intact(chunk))
    return found


def _add_vectors(missing: list[Pair], stores: Stores, encoder: MiniLM) -> None:
    for pairs, chunks in _batches(missing, stores):
        rows = encoder.embed([indexed_text(chunk.node()) for chunk in chunks])
        for scope in sorted({scope for scope, _ in pairs}):
            places = [place for place, pair in enumerate(pairs) if pair[0] == scope]
            metadatas = [_metadata(chunks[place]) for place in places]
            stores.vectors.upsert(scope, [pairs[place][1] for place in places], np.asarray(rows)[places], metadatas)


def _add_lexical(missing: list[Pair], stores: Stores) -> None:
    for pairs, chunks in _batches(missing, stores):
        stores.lexical.apply(
            [lexical_entry(scope, chunk.node()) for (scope, _), chunk in zip(pairs, chunks, strict=True)], ()
        )


def _batches(missing: list[Pair], stores: Stores) -> list[tuple[list[Pair], list[StoredChunk]]]:
    batches = []
    for start in range(0, len(missing), _TOGETHER):
        pairs = missing[start : start + _TOGETHER]
        stored = stores.registry.passages([chunk_id for _, chunk_id in pairs])
        batches.append((pairs, [stored[chunk_id] for _, chunk_id in pairs]))
    return batches


def _metadata(chunk: StoredChunk) -> dict[str, str | int]:
    return {
        "document_id": chunk.document_id,
        "title": chunk.title,
        "section": chunk.section,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
    }
