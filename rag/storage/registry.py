"""The registry: what is indexed, where each chunk stands, and which clean-up a killed run left behind.

It is the one source of truth. A chunk that it does not list cannot be retrieved, whatever Chroma or the lexical index
hold; `journal` lists what they may hold too much.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update

from rag.domain import Document, DocumentPage
from rag.errors import NotFound
from rag.storage.copying import copy_from_file, copy_to_file
from rag.storage.database import inserting
from rag.storage.job_table import JobTable
from rag.storage.records import (
    PASSAGES,
    HeldContent,
    StoredChunk,
    Version,
    chunk_values,
    document_of,
    document_values,
    held_values,
    stored_chunk_of,
)
from rag.storage.schema import chunks, documents, journal, labels, pages, quarantined, released, state

_SLICE = 500  # SQLite accepts at most 32,766 variables in a statement, PostgreSQL 65,535
_NONE: frozenset[str] = frozenset()
_SNAPSHOT = "SELECT value FROM state WHERE key = 'snapshot'"
Pair = tuple[str, str]  # (scope, chunk id)


class Registry:
    """Reads and writes the tables of `schema.py`. Every public method is one transaction."""

    def __init__(self, engine: Engine, require: Callable[[Connection], None] | None = None) -> None:
        """`require` raises, in the transaction of a write, when this process must not write any more."""
        self._engine = engine
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")  # a look takes one round trip, not three
        self._require = require or (lambda _: None)
        self.jobs = JobTable(engine, self._require)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def copy_to(self, path: Path) -> None:
        """Write the whole registry, as it is at one moment, into a new SQLite file. Others may write meanwhile."""
        copy_to_file(self._engine, path)

    def take_over(self, path: Path) -> None:
        """Hold what the SQLite file of `copy_to` holds, all or nothing, instead of what was there."""
        copy_from_file(path, self._engine)

    # --- the corpus as a whole -------------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """The number that changes whenever what can be retrieved changes; 0 for an empty registry."""
        with self._at_once.connect() as connection:  # asked several times for an answer: not worth a compiled query
            return int(connection.exec_driver_sql(_SNAPSHOT).scalar_one_or_none() or 0)

    def value(self, key: str) -> str | None:
        """A value of the `state` table, such as the encoder's fingerprint."""
        with self._engine.connect() as connection:
            return connection.execute(select(state.c.value).where(state.c.key == key)).scalar_one_or_none()

    def set_value(self, key: str, value: str) -> None:
        """Set a value of the `state` table."""
        with self._writing() as connection:
            _put(connection, key, value)

    def totals(self) -> dict[str, int]:
        """How many documents per state, and under `chunks` how many chunks can be retrieved."""
        with self._engine.connect() as connection:
            counted = connection.execute(select(documents.c.state, func.count()).group_by(documents.c.state)).all()
            found = {str(name): int(number) for name, number in counted}
            found["chunks"] = connection.execute(select(func.count()).select_from(chunks)).scalar_one()
            return found

    # --- reading ---------------------------------------------------------------------------------------------------

    def documents(self, source: str | None = None) -> list[Document]:
        """Every document, or those of one source, ordered by title, then id."""
        query = select(documents).order_by(documents.c.title, documents.c.id)
        if source is not None:
            query = query.where(documents.c.source == source)
        with self._engine.connect() as connection:
            added = _added(connection)
            return [document_of(row, added.get(row.id, _NONE)) for row in connection.execute(query)]

    def indexed(self) -> list[tuple[Document, str]]:
        """Every document that has a committed version, with its scope."""
        query = select(documents).where(documents.c.state == "indexed")
        with self._engine.connect() as connection:
            added = _added(connection)
            return [(document_of(row, added.get(row.id, _NONE)), row.scope) for row in connection.execute(query)]

    def live(self, document_ids: Iterable[str]) -> dict[str, Document]:
        """Those of the documents that have a committed version, by id."""
        wanted = list(document_ids)
        query = select(documents).where(documents.c.state == "indexed", documents.c.id.in_(wanted))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            added = _added(connection, wanted)  # after the rows: a label that comes in between counts
        return {row.id: document_of(row, added.get(row.id, _NONE)) for row in rows}

    def document(self, document_id: str) -> Document:
        """One document. Raises `NotFound`."""
        with self._engine.connect() as connection:
            row = connection.execute(select(documents).where(documents.c.id == document_id)).one_or_none()
            added = _added(connection, [document_id]).get(document_id, _NONE)
        if row is None:
            raise NotFound(f"there is no document {document_id!r}; `banksight documents list` shows those there are")
        return document_of(row, added)

    def added_labels(self, document_id: str) -> frozenset[str]:
        """The labels that people added to a document."""
        with self._engine.connect() as connection:
            return _added(connection, [document_id]).get(document_id, _NONE)

    def set_added_labels(self, document_id: str, access: Iterable[str], subject: str) -> int:
        """Make these the labels that people added to a document. Returns the new snapshot."""
        now = int(time.time())
        rows = [{"document_id": document_id, "label": x, "added_by": subject, "added_at": now} for x in sorted(access)]
        with self._engine.begin() as connection:
            connection.execute(delete(labels).where(labels.c.document_id == document_id))
            if rows:
                connection.execute(insert(labels), rows)
            return _next_snapshot(connection)

    def page(self, document_id: str, number: int) -> DocumentPage:
        """One page of the committed version. Raises `NotFound`."""
        query = select(pages).where(pages.c.document_id == document_id, pages.c.number == number)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"document {document_id!r} has no page {number}")
        return DocumentPage(row.document_id, row.number, row.label, row.text)

    def passages(self, chunk_ids: Sequence[str]) -> dict[str, StoredChunk]:
        """The chunks with their texts; ids that are not live are absent."""
        found: dict[str, StoredChunk] = {}
        with self._engine.connect() as connection:
            for some in _slices(chunk_ids):
                for row in connection.execute(PASSAGES.where(chunks.c.id.in_(some))):
                    found[row.id] = stored_chunk_of(row)
        return found

    def changed_since(self, snapshot: int) -> list[tuple[str, int]]:
        """The documents whose committed version came after this snapshot, and how many chunks each has."""
        query = select(documents.c.id, documents.c.chunks).order_by(documents.c.snapshot_added, documents.c.id)
        query = query.where(documents.c.state == "indexed", documents.c.snapshot_added > snapshot)
        with self._engine.connect() as connection:
            return [(row.id, row.chunks) for row in connection.execute(query)]

    def chunks_of(self, document_ids: Sequence[str]) -> list[tuple[str, StoredChunk]]:
        """Every live chunk of these documents, with its scope, in no order."""
        found: list[tuple[str, StoredChunk]] = []
        with self._engine.connect() as connection:
            for some in _slices(document_ids):
                rows = connection.execute(PASSAGES.where(chunks.c.document_id.in_(some)))
                found.extend((row.scope, stored_chunk_of(row)) for row in rows)
        return found

    def chunk_ids(self, document_id: str) -> set[str]:
        """The live chunks of one document."""
        with self._engine.connect() as connection:
            query = select(chunks.c.id).where(chunks.c.document_id == document_id)
            return set(connection.execute(query).scalars())

    def chunk_pairs_of(self, document_id: str) -> set[Pair]:
        """The live `(scope, chunk id)` pairs of one document."""
        with self._engine.connect() as connection:
            return _pairs_of(connection, [document_id])

    def chunk_pairs(self) -> set[Pair]:
        """Every `(scope, chunk id)` that must be in Chroma and in the lexical index: no more, no less."""
        with self._engine.connect() as connection:
            return {(row.scope, row.id) for row in connection.execute(select(chunks.c.scope, chunks.c.id))}

    def twins(self, indexed_hashes: Sequence[str]) -> dict[str, Pair]:
        """For each hash of an embedded text that is already indexed, one chunk that has its vector."""
        found: dict[str, Pair] = {}
        query = select(chunks.c.indexed_hash, chunks.c.scope, chunks.c.id)
        with self._engine.connect() as connection:
            for some in _slices(indexed_hashes):
                for row in connection.execute(query.where(chunks.c.indexed_hash.in_(some))):
                    found[row.indexed_hash] = (row.scope, row.id)
        return found

    def content_hashes(self) -> set[str]:
        """The originals that documents refer to."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(documents.c.content_hash).distinct()).scalars()) - {""}

    def unreferenced(self, content_hashes: Iterable[str]) -> set[str]:
        """Those of these originals that no document refers to any more."""
        asked = set(content_hashes) - {""}
        with self._engine.connect() as connection:
            for some in _slices(sorted(asked)):
                query = select(documents.c.content_hash).where(documents.c.content_hash.in_(some))
                asked -= set(connection.execute(query).scalars())
        return asked

    # --- writing, in the order in which ingestion calls it -----------------------------------------------------------

    def begin(self, versions: Sequence[Version]) -> None:
        """Announce what is about to be written to Chroma and the lexical index."""
        with self._writing() as connection:
            for version in versions:
                _insert_if_new(connection, version)
            _note(connection, ((v.scope, c.chunk_id) for v in versions for c in v.chunks))

    def commit(self, versions: Sequence[Version]) -> tuple[set[Pair], int]:
        """Make these versions the ones that are retrieved. Returns what is now stale, and the new snapshot."""
        with self._writing() as connection:
            snapshot = _next_snapshot(connection)
            old = _pairs_of(connection, [version.document.id for version in versions])
            new = {(v.scope, c.chunk_id) for v in versions for c in v.chunks}
            for version in versions:
                _replace(connection, version, snapshot)
            _note(connection, old - new)
            _forget(connection, new)
            return old - new, snapshot

    def remove(self, document_ids: Sequence[str]) -> set[Pair]:
        """Delete documents. Returns the chunks that are now stale."""
        with self._writing() as connection:
            stale = _pairs_of(connection, document_ids)
            _note(connection, stale)
            for some in _slices(document_ids):
                for table, column in _owned():
                    connection.execute(delete(table).where(column.in_(some)))
                connection.execute(delete(documents).where(documents.c.id.in_(some)))
            _next_snapshot(connection)
            return stale

    def withdraw(self, document: Document, scope: str, held: HeldContent | None = None) -> set[Pair]:
        """Record a document that is not searchable (failed, quarantined, excluded). Returns the stale chunks.

        `held` says why, where it is quarantined.
        """
        with self._writing() as connection:
            stale = _pairs_of(connection, [document.id])
            _note(connection, stale)
            for table, column in _owned():
                connection.execute(delete(table).where(column == document.id))
            connection.execute(delete(documents).where(documents.c.id == document.id))
            connection.execute(insert(documents).values(document_values(document, scope)))
            if held:
                connection.execute(insert(quarantined).values(held_values(document.id, held)))
            if stale:
                _next_snapshot(connection)
            return stale

    def touch(self, document_id: str, fingerprint: str) -> None:
        """The source was rewritten without a change: remember its new fingerprint."""
        with self._writing() as connection:
            connection.execute(update(documents).where(documents.c.id == document_id).values(fingerprint=fingerprint))

    def pending(self) -> tuple[set[Pair], set[Pair]]:
        """The journal, as `(stale, live)`: what must be cleaned up, and what was committed in the meantime."""
        with self._engine.connect() as connection:
            noted = {(row.scope, row.chunk_id) for row in connection.execute(select(journal))}
            live: set[Pair] = set()
            for some in _slices([chunk_id for _, chunk_id in noted]):
                query = select(chunks.c.scope, chunks.c.id).where(chunks.c.id.in_(some))
                live |= {(row.scope, row.id) for row in connection.execute(query)}
        return noted - live, noted & live

    def forget(self, pairs: Iterable[Pair]) -> None:
        """Strike from the journal what was cleaned up."""
        with self._writing() as connection:
            _forget(connection, pairs)

    # --- quarantine ------------------------------------------------------------------------------------------------

    def held(self, document_id: str) -> HeldContent:
        """Why a document is held back. Raises `NotFound` where it is not."""
        query = select(quarantined).where(quarantined.c.document_id == document_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(
                f"document {document_id!r} is not held back; `banksight quarantine list` shows those that are"
            )
        return HeldContent(row.content_hash, json.loads(row.found), row.held_at)

    def release(self, document_id: str, content_hash: str, subject: str) -> None:
        """Remember that these bytes may come in, and let the next ingestion read them again."""
        key = {"document_id": document_id, "content_hash": content_hash}
        with self._engine.begin() as connection:
            connection.execute(delete(released).filter_by(**key))
            connection.execute(insert(released).values(released_by=subject, released_at=int(time.time()), **key))
            connection.execute(update(documents).where(documents.c.id == document_id).values(fingerprint=""))

    def is_released(self, document_id: str, content_hash: str) -> bool:
        """Whether a person let these bytes in under this id."""
        query = select(released.c.document_id).filter_by(document_id=document_id, content_hash=content_hash)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction of a process that may write."""
        with self._engine.begin() as connection:
            self._require(connection)
            yield connection


def _added(connection: Connection, document_ids: Sequence[str] | None = None) -> dict[str, frozenset[str]]:
    """The labels that people added, by document; of all documents, which are few that have any, or of these."""
    query = select(labels.c.document_id, labels.c.label)
    found: dict[str, frozenset[str]] = {}
    if document_ids is not None:
        query = query.where(labels.c.document_id.in_(document_ids))
    for row in connection.execute(query):
        found[row.document_id] = found.get(row.document_id, _NONE) | {row.label}
    return found


def _owned() -> tuple[tuple[Table, Any], ...]:
    """What belongs to a document and goes with it."""
    return ((chunks, chunks.c.document_id), (pages, pages.c.document_id), (quarantined, quarantined.c.document_id))


def _slices(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _SLICE):
        yield items[start : start + _SLICE]


def _put(connection: Connection, key: str, value: str) -> None:
    change = inserting(connection, state).values(key=key, value=value)
    connection.execute(change.on_conflict_do_update(index_elements=[state.c.key], set_={"value": value}))


def _next_snapshot(connection: Connection) -> int:
    found = connection.execute(select(state.c.value).where(state.c.key == "snapshot").with_for_update())
    number = int(found.scalar_one_or_none() or 0) + 1
    _put(connection, "snapshot", str(number))
    return number


def _note(connection: Connection, pairs: Iterable[Pair]) -> None:
    """Write pairs to the journal; ones that are there already stay."""
    noting = inserting(connection, journal).on_conflict_do_nothing()
    rows = [{"scope": scope, "chunk_id": chunk_id} for scope, chunk_id in pairs]
    if rows:
        connection.execute(noting, rows)


def _forget(connection: Connection, pairs: Iterable[Pair]) -> None:
    by_scope: dict[str, list[str]] = {}
    for scope, chunk_id in pairs:
        by_scope.setdefault(scope, []).append(chunk_id)
    for scope, chunk_ids in by_scope.items():
        for some in _slices(chunk_ids):
            connection.execute(delete(journal).where(journal.c.scope == scope, journal.c.chunk_id.in_(some)))


def _pairs_of(connection: Connection, document_ids: Sequence[str]) -> set[Pair]:
    found: set[Pair] = set()
    for some in _slices(document_ids):
        query = select(chunks.c.scope, chunks.c.id).where(chunks.c.document_id.in_(some))
        found |= {(row.scope, row.id) for row in connection.execute(query)}
    return found


def _insert_if_new(connection: Connection, version: Version) -> None:
    """A first version gets a row in state `writing`; a later one leaves the committed row as it is."""
    known = connection.execute(select(documents.c.state).where(documents.c.id == version.document.id)).scalar()
    if known != "indexed":
        connection.execute(delete(documents).where(documents.c.id == version.document.id))
        row = document_values(version.document, version.scope) | {"state": "writing", "fingerprint": ""}
        connection.execute(insert(documents).values(row))


def _replace(connection: Connection, version: Version, snapshot: int) -> None:
    document = version.document
    for table, column in _owned():
        connection.execute(delete(table).where(column == document.id))
    connection.execute(delete(documents).where(documents.c.id == document.id))
    row = document_values(document, version.scope) | {"state": "indexed", "snapshot_added": snapshot}
    connection.execute(insert(documents).values(row))
    rows = [{"document_id": p.document_id, "number": p.number, "label": p.label, "text": p.text} for p in version.pages]
    if rows:
        connection.execute(insert(pages), rows)
    rows = [chunk_values(chunk, document.id, version.scope) for chunk in version.chunks]
    if rows:
        connection.execute(insert(chunks), rows)
