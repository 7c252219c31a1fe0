"""From a listed item to a document that is read and split, and what becomes of one that cannot be read."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from llama_index.core.schema import TextNode

from connectors.base import SourceDocument, SourceItem
from connectors.errors import ConnectorError, SourceMisconfigured, SourceUnavailable, SourceUnreadable
from rag.domain import Document, DocumentOutcome, DocumentPage, Outcome
from rag.ingestion.quarantine import Held, examine, sentence, visible
from rag.ingestion.removing import discard, discard_originals
from rag.ingestion.run import Prepared, Progress, Rules, Run, Source, Stores
from rag.ingestion.splitting import indexed_text
from rag.storage.catalog import scope_name
from rag.storage.records import HeldContent, NewChunk, Version
from rag.storage.registry import Registry


def prepare(
    changed: Sequence[tuple[Source, SourceItem, Document | None]],
    stores: Stores,
    rules: Rules,
    run: Run,
    progress: Callable[[Progress], None],
    stop: threading.Event,
) -> Iterator[Prepared]:
    """Read and split in threads, a few documents ahead of the embedding, in the order of the sources."""

    def read(entry: tuple[Source, SourceItem, Document | None]) -> Prepared | Held | ConnectorError:
        source, item, before = entry
        try:
            document = source.connector.read(item)
            found = examine(document) if rules.quarantine == "hold" else ()
            if found and not stores.registry.is_released(document.id, _digest(document)):
                return Held(document, found)
            return _split(source, document, before, rules)
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
                if not _is_passing(result):
                    _withdraw(source, item, result, before, stores, rules)
                run.note(item, "failed", result)
            elif isinstance(result, Held):
                _hold(source, result, before, stores, rules, run)
            elif before and _is_same(result, before, stores.registry):
                stores.originals.save(before.content_hash, result.content)  # it may be read again because it was lost
                stores.registry.touch(item.id, item.fingerprint)
                run.note(item, "unchanged")
            else:
                yield result
                continue
            run.done += 1
            progress(run.progress("reading", item.uri))


def _split(source: Source, document: SourceDocument, before: Document | None, rules: Rules) -> Prepared:
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
        content_hash=_digest(document),
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
    return Prepared(Version(entry, scope, pages, chunks), document.content, nodes, texts, outcome, replaced)


def _new_chunk(node: TextNode, text: str) -> NewChunk:
    place = node.metadata
    return NewChunk(
        node.node_id, place["page"], place["start"], place["end"], place["section"], place.get("header", ""),
        hashlib.sha256(text.encode()).hexdigest(),
    )  # fmt: skip


def _is_same(prepared: Prepared, before: Document, registry: Registry) -> bool:
    """True when the file was rewritten but gives what is indexed already, labels and dates included."""
    if before.state != "indexed":
        return False
    version = prepared.version
    now = replace(
        version.document,
        state=before.state,
        fingerprint=before.fingerprint,
        snapshot_added=before.snapshot_added,
        updated_at=before.updated_at,
    )
    return now == before and {chunk.chunk_id for chunk in version.chunks} == registry.chunk_ids(before.id)


def _is_passing(error: ConnectorError) -> bool:
    """True when the document could not be reached: it stays as it was, and the next run tries again."""
    return isinstance(error, SourceUnavailable) or getattr(error, "reason", "") == "inaccessible"


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
        discard_originals([before.content_hash], stores)


def _hold(source: Source, held: Held, before: Document | None, stores: Stores, rules: Rules, run: Run) -> None:
    """Keep a document in question out, also as it was before. Its bytes stay where they came from, and only there."""
    document = held.document
    entry = Document(
        id=document.id,
        source=source.connector.source,
        uri=document.uri,
        title=visible(document.title),
        collection=source.collection,
        tenant=rules.tenant,
        media_type=document.media_type,
        fingerprint=document.fingerprint,
        content_hash="",
        access=frozenset(document.access),
        state="quarantined",
        reason=held.found[0].reason,
        message=sentence(held.found),
        size_bytes=len(document.content),
    )
    content = HeldContent(_digest(document), [asdict(each) for each in held.found], int(time.time()))
    scope = scope_name(rules.tenant, source.collection, entry.access)
    discard(stores.registry.withdraw(entry, scope, content), stores)
    if before:
        discard_originals([before.content_hash], stores)
    run.outcomes.append(DocumentOutcome(entry.id, entry.uri, "quarantined", entry.reason, entry.message))


def _digest(document: SourceDocument) -> str:
    return hashlib.sha256(document.content).hexdigest()


def windows(prepared: Iterator[Prepared], window_chunks: int) -> Iterator[list[Prepared]]:
    """Documents together until they hold about `window_chunks` chunks: enough to sort by length and commit at once."""
    window: list[Prepared] = []
    held = 0
    for each in prepared:
        window.append(each)
        held += len(each.nodes)
        if held >= window_chunks:
            yield window
            window, held = [], 0
    if window:
        yield window
