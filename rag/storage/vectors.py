"""Vectors in Chroma: one collection per scope, ids and float32[384], cosine distance; texts stay in the registry.

Chroma's own delete leaves texts in its queue, and its document column halves the insert rate; so it gets no texts
(docs/adr/0002). Embedded Chroma is one process's; several processes talk to a Chroma server.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import chromadb
import httpx
import numpy as np
from chromadb.api import ClientAPI
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError, NotFoundError

from rag.errors import ConfigurationError, IndexMismatch, StorageUnavailable
from rag.operations.telemetry import vector_query

logger = logging.getLogger(__name__)

Vector = np.ndarray[Any, np.dtype[np.float32]]
_LEAST_ROOM_BYTES = 1_000_000
_MOST_PER_CALL = 5_000  # Chroma refuses more than 5,461 records in one call
_QUERY, _GET = cast("Any", Collection.query), cast("Any", Collection.get)
_RELINKS = 5  # tries; one has always been enough
_ENCODER = "encoder"  # key of the encoder's fingerprint in a collection's metadata
_FRESH, _OLD = "fresh.", "old."  # before the names of collections while one takes another's place; no scope has a dot


class VectorIndex:
    """Nearest neighbours over the scopes of one index. Thread-safe."""

    def __init__(self, client: ClientAPI, encoder: str, sessions: Sequence[httpx.Client] = ()) -> None:
        self._client = client
        self._sessions = sessions
        self._encoder = encoder
        self._open: dict[str, Collection] = {}

    @classmethod
    def embedded(cls, folder: Path, encoder: str) -> VectorIndex:
        """The index in `folder`, owned by this process.

        Raises `ConfigurationError` when it cannot be opened, and `StorageUnavailable` where its disk is full.
        """
        settings = ChromaSettings(anonymized_telemetry=False, is_persistent=True, persist_directory=str(folder))
        try:
            return cls(chromadb.PersistentClient(str(folder), settings), encoder)
        except Exception as error:  # Chroma raises bare and Rust errors for a foreign or broken folder
            if _is_full(folder):
                raise StorageUnavailable(
                    f"Chroma cannot write to {folder}: the disk is full; make room there"
                ) from error
            raise ConfigurationError(
                f"Chroma {chromadb.__version__} cannot open {folder}: {_first_line(error)}; it was written by another "
                "version or is damaged: start the version that wrote it, or rebuild with `banksight ingest --rebuild`"
            ) from error

    @classmethod
    def server(cls, host: str, port: int, timeout_seconds: float, encoder: str) -> VectorIndex:
        """The index on a Chroma server. Raises `StorageUnavailable`."""
        try:
            client = chromadb.HttpClient(host, port, settings=ChromaSettings(anonymized_telemetry=False))
        except (ValueError, ChromaError, httpx.HTTPError) as error:
            raise StorageUnavailable(
                f"no Chroma server answers at {host}:{port}: {_first_line(error)}; check storage.chroma_host"
            ) from error
        sessions = _sessions(client)
        for session in sessions:
            session.timeout = httpx.Timeout(timeout_seconds)  # its default waits for ever
        return cls(client, encoder, sessions)

    def upsert(
        self, scope: str, ids: Sequence[str], vectors: Vector, metadatas: Sequence[Mapping[str, str | int]]
    ) -> None:
        """Write float32[n, 384] under `ids`, durably; what is there under the same ids is replaced."""
        collection = self._collection(scope)
        with _reported("write to"):
            for start in range(0, len(ids), _MOST_PER_CALL):
                part = slice(start, start + _MOST_PER_CALL)
                collection.upsert(
                    ids=list(ids[part]),
                    embeddings=cast("Any", vectors[part]),
                    metadatas=[dict(metadata) for metadata in metadatas[part]],
                )

    def describe(self, scope: str, ids: Sequence[str], metadatas: Sequence[Mapping[str, str | int]]) -> None:
        """Replace the metadata of records that are there; their vectors stay untouched."""
        collection = self._collection(scope)
        with _reported("write to"):
            for start in range(0, len(ids), _MOST_PER_CALL):
                part = slice(start, start + _MOST_PER_CALL)
                collection.update(ids=list(ids[part]), metadatas=[dict(metadata) for metadata in metadatas[part]])

    def delete(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Delete `(scope, chunk id)` pairs; ones that are not there do not matter."""
        for scope, ids in _by_scope(pairs).items():
            found = self._existing(scope)
            if found is None:
                continue
            with _reported("delete from"):
                for start in range(0, len(ids), _MOST_PER_CALL):
                    found.delete(ids=ids[start : start + _MOST_PER_CALL])

    def query(self, scopes: Sequence[str], vector: Vector, limit: int) -> list[tuple[str, float]]:
        """The `limit` nearest chunk ids of each scope with their cosine similarity, best first."""
        return self.query_many(scopes, vector[np.newaxis, :], limit)[0]

    def query_many(self, scopes: Sequence[str], vectors: Vector, limit: int) -> list[list[tuple[str, float]]]:
        """As `query`, for float32[n, 384] in one call per scope: eight together cost as much as three one by one."""
        merged: list[list[tuple[str, float]]] = [[] for _ in range(len(vectors))]
        with vector_query():
            for scope in scopes:
                ask = partial(_QUERY, query_embeddings=vectors, n_results=limit, include=["distances"])
                found = self._asked(scope, "search", ask)
                if found is None:
                    continue
                for place, ids, far in zip(merged, found["ids"], found["distances"] or [], strict=True):
                    place.extend(zip(ids, (1.0 - np.asarray(far)).tolist(), strict=True))
        for place in merged:
            place.sort(key=lambda hit: (-hit[1], hit[0]))
        return merged

    def vectors(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Vector]:
        """The stored vectors by chunk id; ids that are not there are absent."""
        found: dict[str, Vector] = {}
        for scope, ids in _by_scope(pairs).items():
            for start in range(0, len(ids), _MOST_PER_CALL):
                some = ids[start : start + _MOST_PER_CALL]
                got = self._asked(scope, "read", partial(_GET, ids=some, include=["embeddings"]))
                if got is not None:
                    rows = cast("Any", got["embeddings"])
                    found.update(zip(got["ids"], (np.asarray(row, dtype=np.float32) for row in rows), strict=True))
        return found

    def unreachable(self, scope: str) -> set[str]:
        """The ids in a scope at which no search arrives: HNSW now and then leaves a node without a link to it."""
        ids = list(self._ids_of(scope))
        if not ids:
            return set()
        start = next(iter(self.vectors([(scope, ids[0])]).values()))
        return set(ids) - {chunk_id for chunk_id, _ in self.query([scope], start, len(ids))}

    def relink(self, scope: str) -> set[str]:
        """Write unreachable vectors again, which links them anew. Returns those that stayed unreachable."""
        lost: set[str] = set()
        for _ in range(_RELINKS):
            lost = self.unreachable(scope)
            if not lost:
                break
            logger.warning("linking %d unreachable vectors of %s anew", len(lost), scope)
            collection = self._collection(scope)
            with _reported("repair"):
                rows = collection.get(ids=sorted(lost), include=["embeddings", "metadatas"])
                collection.upsert(ids=rows["ids"], embeddings=rows["embeddings"], metadatas=rows["metadatas"])
        return lost

    def ids(self) -> set[tuple[str, str]]:
        """Every `(scope, chunk id)` that Chroma holds for this index."""
        return {(scope, chunk_id) for scope in self._scopes() for chunk_id in self._ids_of(scope)}

    def records(self) -> Iterator[tuple[str, list[str], Vector, list[dict[str, str | int]]]]:
        """Everything, scope by scope: ids in order, float32[n, 384] and metadata, as `upsert` takes them."""
        return self._records_of(self._scopes())

    def _records_of(self, scopes: Sequence[str]) -> Iterator[tuple[str, list[str], Vector, list[dict[str, str | int]]]]:
        for scope in scopes:
            with _reported("read"):
                collection = self._client.get_collection(scope, embedding_function=None)
            rows: dict[str, tuple[Any, Any]] = {}
            for start in itertools.count(0, _MOST_PER_CALL):
                with _reported("read"):
                    got = collection.get(include=["embeddings", "metadatas"], limit=_MOST_PER_CALL, offset=start)
                rows |= zip(
                    got["ids"], zip(cast("Any", got["embeddings"]), got["metadatas"] or [], strict=True), strict=True
                )
                if len(got["ids"]) < _MOST_PER_CALL:
                    break
            ids = sorted(rows)
            if ids:
                vectors = np.asarray([rows[each][0] for each in ids], dtype=np.float32)
                yield scope, ids, vectors, [dict(rows[each][1] or {}) for each in ids]

    def count(self) -> int:
        """How many vectors there are."""
        with _reported("count"):
            return sum(self._client.get_collection(scope, embedding_function=None).count() for scope in self._scopes())

    def clear(self) -> None:
        """Delete every collection."""
        with _reported("clear"):
            for scope in self._scopes():
                self._client.delete_collection(scope)
        self._open.clear()

    def rewrite(self) -> int:
        """Put every scope into a collection of its own making, because a deleted record stays in the old one's files.

        Searches go on meanwhile; nobody may write. Killed at any moment, `settle` finishes or undoes it. Returns how
        many vectors there are. What is left of the old collections: `rag.storage.chroma_files`.
        """
        self.settle()
        count = 0
        for scope in self._scopes():
            rows = next(self._records_of([scope]), None)
            with _reported("rewrite"):
                if rows is None:
                    self._client.delete_collection(scope)
                else:
                    count += len(rows[1])
                    self._make(_FRESH + scope)
                    self.upsert(_FRESH + scope, *rows[1:])
                    self._client.get_collection(scope, embedding_function=None).modify(name=_OLD + scope)
                    self._open.pop(_FRESH + scope).modify(name=scope)
            self._open.pop(scope, None)
            self.settle()
            if rows is not None:
                self.relink(scope)
        return count

    def settle(self) -> None:
        """Finish or undo a `rewrite` that was cut off."""
        with _reported("rewrite"):
            names = {collection.name for collection in self._client.list_collections()}
            for name in sorted(each for each in names if each.startswith(_OLD)):
                scope = name.removeprefix(_OLD)
                if scope not in names:
                    self._client.get_collection(_FRESH + scope, embedding_function=None).modify(name=scope)
                    names.discard(_FRESH + scope)
                self._client.delete_collection(name)
            for name in sorted(each for each in names if each.startswith(_FRESH)):
                self._client.delete_collection(name)

    def close(self) -> None:
        """Release files and sockets."""
        self._open.clear()
        close = getattr(self._client, "close", None)
        if close is not None:
            close()
        for session in self._sessions:
            session.close()  # Chroma leaves its sockets to the garbage collector

    def _scopes(self) -> list[str]:
        with _reported("list"):
            names = (collection.name for collection in self._client.list_collections())
            return sorted(name for name in names if not name.startswith((_FRESH, _OLD)))

    def _ids_of(self, scope: str) -> Iterator[str]:
        collection = self._client.get_collection(scope, embedding_function=None)
        offset = 0
        while True:
            with _reported("list"):
                ids = collection.get(include=[], limit=_MOST_PER_CALL, offset=offset)["ids"]
            yield from ids
            if len(ids) < _MOST_PER_CALL:
                return
            offset += len(ids)

    def _asked(self, scope: str, action: str, ask: Callable[[Collection], Any]) -> Any | None:
        """What a collection answers; None when there is none. Another process may have made it anew meanwhile."""
        for _ in range(2):
            collection = self._existing(scope)
            if collection is None:
                return None
            try:
                with _reported(action):
                    return ask(collection)
            except _Missing:
                self._open.pop(scope, None)
        return None

    def _existing(self, scope: str) -> Collection | None:
        """The collection, or None when it was not made yet."""
        if scope not in self._open:
            try:
                with _reported("open"):
                    collection = self._client.get_collection(scope, embedding_function=None)
            except _Missing:
                return None
            self._open[scope] = self._checked(collection)
        return self._open[scope]

    def _collection(self, scope: str) -> Collection:
        """The collection, made now when it is not there."""
        return self._open.get(scope) or self._make(scope)

    def _make(self, scope: str) -> Collection:
        with _reported("open"):
            collection = self._client.get_or_create_collection(
                scope,
                embedding_function=None,
                metadata={_ENCODER: self._encoder},
                configuration={"hnsw": {"space": "cosine"}},
            )
        self._open[scope] = self._checked(collection)
        return self._open[scope]

    def _checked(self, collection: Collection) -> Collection:
        made_by = (collection.metadata or {}).get(_ENCODER)
        if made_by != self._encoder:
            raise IndexMismatch(
                f"the collection {collection.name} holds vectors of another encoder ({made_by}, now {self._encoder}); "
                "rebuild with `banksight ingest --rebuild`, or restore the encoder that made it"
            )
        return collection


def _is_full(folder: Path) -> bool:
    """Whether there is no room for even a small database."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(place).free < _LEAST_ROOM_BYTES


def _sessions(client: ClientAPI) -> list[httpx.Client]:
    """The HTTP clients inside Chroma's client: one for data, one for administration."""
    owners = (client, getattr(client, "_admin_client", None))
    found = [getattr(getattr(owner, "_server", None), "_session", None) for owner in owners]
    sessions = [session for session in found if isinstance(session, httpx.Client)]
    if len(sessions) != len(owners):
        raise ConfigurationError(f"Chroma {chromadb.__version__} has another HTTP client; install the pinned version")
    return sessions


class _Missing(Exception):
    """The collection is not there."""


class _reported:  # noqa: N801  reads as a statement: with _reported("search"):
    """Chroma's errors, translated into ours."""

    def __init__(self, action: str) -> None:
        self._action = action

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotFoundError):
            raise _Missing from error
        if isinstance(error, (ChromaError, httpx.HTTPError, OSError)):
            raise StorageUnavailable(
                f"Chroma could not {self._action} the index: {_first_line(error)}; check its disk and its server"
            ) from error


def _by_scope(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for scope, chunk_id in pairs:
        grouped.setdefault(scope, []).append(chunk_id)
    return grouped


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
