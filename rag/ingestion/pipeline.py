"""Ingestion, told once: `ingest` is the whole story, and every step is a function below or in a sibling file.

The order of writes is what makes it crash-safe. The registry's journal names chunks before Chroma and the lexical
index get them; the registry's commit makes them count; only then are old chunks deleted. Killed at any instant, the
next run starts with `recover` and finds in the journal whatever is too much.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from llama_index.core.schema import TextNode

from connectors.base import Connector, SourceDocument, SourceItem
from connectors.errors import ConnectorError, SourceMisconfigured, SourceUnavailable, SourceUnreadable
from rag.domain import Document, DocumentOutcome, DocumentPage, IngestReport, Outcome
from rag.errors import ConfigurationError
from rag.ingestion.splitting import indexed_text
from rag.models.embedding import MiniLM
from rag.storage.catalog import Catalog, scope_name
from rag.storage.lexical import LexicalEntry, LexicalIndex
from rag.storage.originals import Originals
from rag.storage.registry import NewChunk, Pair, Registry, Version
from rag.storage.vectors import Vector, VectorIndex

logger = logging.getLogger(__name__)

Stage = Literal["listing", "reading", "embedding", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `done` and `total` count documents that changed; `chunks` what was written so far."""

    stage: Stage
    done: int
    total: int
    pages: int = 0
    chunks: int = 0
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that ingestion writes to."""

    registry: Registry
    vectors: VectorIndex
    lexical: LexicalIndex
    originals: Originals
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class Rules:
    """How documents become chunks, and when a run stops to ask."""

    tenant: str
    split: Callable[[SourceDocument], list[TextNode]]
    window_chunks: int
    readers: int
    mass_delete_share: float
    mass_delete_floor: int


@dataclass(frozen=True, slots=True)
class Source:
    """A connector with the collection that its documents belong to."""

    connector: Connector
    collection: str


@dataclass(slots=True)
class _Run:
    """What a run has done so far."""

    outcomes: list[DocumentOutcome] = field(default_factory=list)
    total: int = 0
    done: int = 0
    pages: int = 0
    chunks: int = 0
    embedded: int = 0

    def progress(self, stage: Stage, uri: str = "") -> Progress:
        return Progress(stage, self.done, self.total, self.pages, self.chunks, uri)

    def note(self, item: SourceItem, outcome: Outcome, error: ConnectorError | None = None) -> None:
        reason = getattr(error, "reason", "misconfigured") if error else ""
        self.outcomes.append(DocumentOutcome(item.id, item.uri, outcome, reason, str(error or "")))


@dataclass(frozen=True, slots=True)
class _Plan:
    changed: list[tuple[Source, SourceItem, Document | None]]
    vanished: list[Document]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that was read and split, and is ready to be embedded and written."""

    version: Version
    content: bytes
    nodes: list[TextNode]
    texts: list[str]
    outcome: Outcome
    replaced: str  # content hash of the version before; empty when there was none


def ingest(
    sources: Sequence[Source],
    stores: Stores,
    encoder: MiniLM,
    rules: Rules,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    mass_delete: Literal["refuse", "allow"] = "refuse",
    retry: Literal["changed", "failed"] = "changed",
) -> IngestReport:
    """Make the corpus equal to its sources. One broken document never stops the others; the report names it.

    `stop` ends the run after the window in hand; what was written stays, and the next run goes on from there. Raises
    `ConfigurationError` when a source would lose most of its documents and `mass_delete` is `refuse`.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    run = _Run()
    recover(stores)
    plan = _compare(sources, stores.registry, rules, run, mass_delete, retry)
    run.total = len(plan.changed)
    progress(run.progress("listing"))
    _delete_vanished(plan.vanished, stores, run)
    for window in _windows(_prepare(plan.changed, stores, rules, run, progress, stop), rules.window_chunks):
        progress(run.progress("embedding", window[-1].version.document.uri))
        _write(window, stores, encoder, run)
        progress(run.progress("reading"))
    snapshot = stores.catalog.refresh()
    progress(run.progress("done"))
    return IngestReport(tuple(run.outcomes), snapshot, time.monotonic() - started, run.pages, run.chunks, run.embedded)


def recover(stores: Stores) -> int:
    """Clean up what a killed run left in Chroma and the lexical index. Returns how many chunks that were."""
    stale, live = stores.registry.pending()
    discard(stale, stores)
    stores.registry.forget(live)
    if stale:
        logger.warning("cleaned up %d chunks of an interrupted run", len(stale))
    return len(stale)


def discard(stale: set[Pair], stores: Stores) -> None:
    """Delete chunks from Chroma and the lexical index, then strike them from the journal."""
    if stale:
        stores.vectors.delete(stale)
        stores.lexical.apply((), stale)
        stores.registry.forget(stale)


def _compare(
    sources: Sequence[Source],
    registry: Registry,
    rules: Rules,
    run: _Run,
    mass_delete: Literal["refuse", "allow"],
    retry: Literal["changed", "failed"],
) -> _Plan:
    """What changed and what vanished since the last run. A source that cannot be listed loses nothing."""
    plan = _Plan([], [])
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


def _refuse_mass_delete(source: Source, gone: int, known: int, rules: Rules) -> None:
    if known >= rules.mass_delete_floor and gone > known * rules.mass_delete_share:
        raise ConfigurationError(
            f"the source {source.connector.source} now lists {known - gone} of {known} documents; nothing was deleted. "
            "If that is right, run `banksight ingest --allow-mass-delete`; if not, check that its folder is mounted"
        )


def _is_settled(
    item: SourceItem, before: Document | None, source: Source, rules: Rules, retry: Literal["changed", "failed"]
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


def _delete_vanished(vanished: Sequence[Document], stores: Stores, run: _Run) -> None:
    remove_documents(vanished, stores)
    run.outcomes.extend(DocumentOutcome(document.id, document.uri, "deleted") for document in vanished)


def remove_documents(documents: Sequence[Document], stores: Stores) -> None:
    """Delete documents everywhere: registry, Chroma, lexical index, and originals that nobody else refers to."""
    if documents:
        discard(stores.registry.remove([document.id for document in documents]), stores)
        _discard_originals((document.content_hash for document in documents), stores)
        stores.catalog.refresh()


def exclude_document(document: Document, stores: Stores) -> None:
    """Delete a document everywhere but remember that it was deleted, so that its source does not bring it back."""
    excluded = replace(document, state="excluded", content_hash="", pages=0, chunks=0, reason="deleted")
    scope = scope_name(document.tenant, document.collection, document.access)
    discard(stores.registry.withdraw(excluded, scope), stores)
    _discard_originals([document.content_hash], stores)
    stores.catalog.refresh()


def _discard_originals(content_hashes: Iterable[str], stores: Stores) -> None:
    stores.originals.discard(stores.registry.unreferenced(content_hashes))


def _prepare(
    changed: Sequence[tuple[Source, SourceItem, Document | None]],
    stores: Stores,
    rules: Rules,
    run: _Run,
    progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Iterator[_Prepared]:
    """Read and split in threads, a few documents ahead of the embedding, in the order of the sources."""

    def read(entry: tuple[Source, SourceItem, Document | None]) -> _Prepared | ConnectorError:
        source, item, before = entry
        try:
            return _split(source, source.connector.read(item), before, rules)
        except (SourceUnreadable, SourceMisconfigured, SourceUnavailable) as error:
            return error

    with ThreadPoolExecutor(rules.readers, thread_name_prefix="reader") as pool:
        ahead = rules.readers + 1
        waiting = [pool.submit(read, entry) for entry in changed[:ahead]]
        for place, entry in enumerate(changed):
            if stop.is_set():
                for future in waiting:
                    future.cancel()
                return
            result = waiting.pop(0).result()
            if place + ahead < len(changed):
                waiting.append(pool.submit(read, changed[place + ahead]))
            source, item, before = entry
            if isinstance(result, ConnectorError):
                _withdraw(source, item, result, before, stores, rules)
                run.note(item, "failed", result)
            elif before and _is_same(result, before):
                stores.registry.touch(item.id, item.fingerprint)
                run.note(item, "unchanged")
            else:
                yield result
                continue
            run.done += 1
            progress(run.progress("reading", item.uri))


def _split(source: Source, document: SourceDocument, before: Document | None, rules: Rules) -> _Prepared:
    nodes = rules.split(document)
    if not nodes:
        raise SourceUnreadable("no_text", f"{document.uri} holds no text; if it is a scan, run OCR on it first")
    texts = [indexed_text(node) for node in nodes]
    entry = Document(
        id=document.id,
        source=source.connector.source,
        uri=document.uri,
        title=document.title,
        collection=source.collection,
        tenant=rules.tenant,
        media_type=document.media_type,
        fingerprint=document.fingerprint,
        content_hash=hashlib.sha256(document.content).hexdigest(),
        access=frozenset(document.access),
        state="pending",
        effective_from=document.effective_from,
        effective_to=document.effective_to,
        supersedes=document.supersedes,
        pages=len(document.pages),
        chunks=len(nodes),
        size_bytes=len(document.content),
    )
    pages = tuple(DocumentPage(document.id, page.number, page.label, page.text) for page in document.pages)
    chunks = tuple(_new_chunk(node, text) for node, text in zip(nodes, texts, strict=True))
    scope = scope_name(entry.tenant, entry.collection, entry.access)
    outcome: Outcome = "updated" if before and before.state == "indexed" else "added"
    replaced = before.content_hash if before else ""
    return _Prepared(Version(entry, scope, pages, chunks), document.content, nodes, texts, outcome, replaced)


def _new_chunk(node: TextNode, text: str) -> NewChunk:
    place = node.metadata
    return NewChunk(
        node.node_id, place["page"], place["start"], place["end"], place["section"], place.get("header", ""),
        hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip


def _is_same(prepared: _Prepared, before: Document) -> bool:
    """True when the file was rewritten but holds what is indexed already, labels and dates included."""
    if before.state != "indexed":
        return False
    now = prepared.version.document
    return (
        replace(
            now,
            state=before.state,
            fingerprint=before.fingerprint,
            snapshot_added=before.snapshot_added,
            updated_at=before.updated_at,
        )
        == before
    )


def _withdraw(
    source: Source, item: SourceItem, error: ConnectorError, before: Document | None, stores: Stores, rules: Rules
) -> None:
    """A document that cannot be read is not searchable, not even as it was before: its source no longer holds that."""
    reason = getattr(error, "reason", "misconfigured")
    failed = Document(
        id=item.id,
        source=source.connector.source,
        uri=item.uri,
        title=item.metadata.title or item.uri.rsplit("/", 1)[-1],
        collection=source.collection,
        tenant=rules.tenant,
        media_type="",
        fingerprint=item.fingerprint,
        content_hash="",
        access=frozenset(item.metadata.access),
        state="failed",
        reason=reason,
        message=str(error),
    )
    discard(stores.registry.withdraw(failed, scope_name(rules.tenant, source.collection, failed.access)), stores)
    if before:
        _discard_originals([before.content_hash], stores)


def _windows(prepared: Iterator[_Prepared], window_chunks: int) -> Iterator[list[_Prepared]]:
    """Documents together until they hold about `window_chunks` chunks: enough to sort by length and commit at once."""
    window: list[_Prepared] = []
    held = 0
    for each in prepared:
        window.append(each)
        held += len(each.nodes)
        if held >= window_chunks:
            yield window
            window, held = [], 0
    if window:
        yield window


def _write(window: Sequence[_Prepared], stores: Stores, encoder: MiniLM, run: _Run) -> None:
    """Announce, write to Chroma and the lexical index, commit, and only then delete what became stale."""
    versions = [prepared.version for prepared in window]
    stores.registry.begin(versions)
    vectors = _embed(window, stores, encoder, run)
    for prepared, rows in zip(window, vectors, strict=True):
        stores.originals.save(prepared.version.document.content_hash, prepared.content)
        ids = [node.node_id for node in prepared.nodes]
        stores.vectors.upsert(prepared.version.scope, ids, rows, [_metadata(prepared, node) for node in prepared.nodes])
    stores.lexical.apply([entry for prepared in window for entry in _entries(prepared)], ())
    stale, _ = stores.registry.commit(versions)
    discard(stale, stores)
    _discard_originals((prepared.replaced for prepared in window), stores)
    stores.catalog.refresh()
    for prepared in window:
        document = prepared.version.document
        run.done += 1
        run.pages += document.pages
        run.chunks += document.chunks
        run.outcomes.append(
            DocumentOutcome(document.id, document.uri, prepared.outcome, pages=document.pages, chunks=document.chunks)
        )


def _embed(window: Sequence[_Prepared], stores: Stores, encoder: MiniLM, run: _Run) -> list[Vector]:
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


def _metadata(prepared: _Prepared, node: TextNode) -> dict[str, str | int]:
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


def _entries(prepared: _Prepared) -> Iterator[LexicalEntry]:
    version = prepared.version
    for node in prepared.nodes:
        section = node.metadata["section"]
        yield LexicalEntry(version.scope, node.node_id, version.document.id, version.document.title, section, node.text)
