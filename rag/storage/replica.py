"""A node's own copy of the lexical index, made and kept current from the registry, for processes that only read.

The registry holds every chunk's text (docs/adr/0002), so a copy can always be made anew. All processes of a data folder
share one; whichever sees a new snapshot first brings it up to date, the others find the commit at their next search.

What snapshot the copy contains stands in a file that is written after the index: killed in between, what changed since
is written once more, which changes nothing.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout

from rag.domain import Principal, SearchFilter
from rag.errors import Busy, IndexMismatch
from rag.operations import telemetry
from rag.storage.catalog import Catalog
from rag.storage.lexical import LexicalEntry, LexicalIndex
from rag.storage.registry import Registry

logger = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS: Final = 0.25
_TOGETHER: Final = 2_000  # chunks in one commit, about 5 MB in memory
_NOTHING: Final = -1  # the snapshot of a copy that may hold anything
REWRITTEN: Final = "lexical_rewritten"  # key of the registry's state: copies with another value are made anew


class LexicalReplica:
    """The copy in one folder, and a thread that keeps it equal to the registry."""

    def __init__(self, folder: Path, registry: Registry, catalog: Catalog) -> None:
        """Open the copy, made or brought up to date now.

        Raises `Busy` while another process does that, `StorageUnavailable` when the disk refuses.
        """
        self._folder = folder
        self._registry = registry
        self._catalog = catalog
        self._note = folder.with_suffix(".json")
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_suffix(".lock"), thread_local=False)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="lexical-replica", daemon=True)
        try:
            with self._lock.acquire(timeout=5):
                self.index = self._opened()
                self._apply(registry.snapshot())
        except Timeout as error:
            raise Busy("another process makes this node's copy of the lexical index now", retry_after=3) from error

    def start(self) -> LexicalReplica:
        """Follow the registry from now on."""
        self._thread.start()
        return self

    @property
    def snapshot(self) -> int:
        """The snapshot that the copy contains; it may contain more, never less. -1 when that is not known."""
        return self._noted()[0]

    def _noted(self) -> tuple[int, str]:
        """The snapshot, and with which value of `REWRITTEN` the copy was made."""
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
            return int(found["snapshot"]), str(found.get("rewritten", ""))
        except (OSError, ValueError, KeyError, TypeError):
            return _NOTHING, ""

    def follow(self) -> Literal["current", "elsewhere"]:
        """Bring the copy to the registry's snapshot; `elsewhere` when another process of this node does that now."""
        snapshot = self._registry.snapshot()
        if self._noted() != (snapshot, self._registry.value(REWRITTEN) or ""):
            try:
                with self._lock.acquire(timeout=0):
                    self._apply(snapshot)
            except Timeout:
                return "elsewhere"
        telemetry.SNAPSHOT.set(snapshot)
        return "current"

    def close(self) -> None:
        """End the thread; what it writes is finished first."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.index.close()

    def _opened(self) -> LexicalIndex:
        """The index; one that is damaged or of another version is thrown away, because it is only a copy."""
        try:
            return LexicalIndex(self._folder)
        except IndexMismatch as error:
            logger.warning("this node's copy of the lexical index is made anew: %s", error)
            self._note.unlink(missing_ok=True)
            shutil.rmtree(self._folder)
            return LexicalIndex(self._folder)

    def _apply(self, snapshot: int) -> None:
        """Write what changed since the copy's snapshot. Only while the lock is held.

        Documents that are new or changed are known by their snapshot. Afterwards the copy holds all that the registry
        holds, so that it holds too much exactly when it has more chunks; then both are compared id by id.
        """
        known, made = self._noted()
        rewritten = self._registry.value(REWRITTEN) or ""
        if (known, made) == (snapshot, rewritten):
            return
        since = known if known < snapshot else _NOTHING  # an older registry came back from a backup
        try:
            if made != rewritten:
                everything = self._batches(self._registry.changed_since(_NOTHING))
                self.index.rewrite(self._entries(some) for some in everything)
            else:
                for some in self._batches(self._registry.changed_since(since)):
                    self.index.replace(some, self._entries(some))
            if self.index.count() != self._registry.totals()["chunks"]:
                self.index.apply((), self.index.ids() - self._registry.chunk_pairs())
        finally:
            self.index.close()  # gives the writer back to the other processes
        temporary = self._note.with_suffix(".incoming")
        temporary.write_text(json.dumps({"snapshot": snapshot, "rewritten": rewritten}), encoding="utf-8")
        temporary.replace(self._note)

    def _entries(self, document_ids: Sequence[str]) -> list[LexicalEntry]:
        return [
            LexicalEntry(scope, each.chunk_id, each.document_id, each.title, each.section, each.text, each.header)
            for scope, each in self._registry.chunks_of(document_ids)
        ]

    def _batches(self, documents: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
        """Ids of documents that have about so many chunks together as one commit may take."""
        some: list[str] = []
        size = 0
        for document_id, chunks in documents:
            if some and size + chunks > _TOGETHER:
                yield some
                some, size = [], 0
            some.append(document_id)
            size += chunks
        if some:
            yield some

    def _follow(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_SECONDS):
            try:
                self.follow()
            except Exception:  # the registry or the disk is away; the copy stays as it is until they are back
                logger.exception("this node's copy of the lexical index could not be brought up to date")
                self._closing.wait(2)


class ReplicatedCorpus:
    """The catalog as the answer cache sees it: it has no snapshot while this node's copy is older than the registry.

    An answer that was searched for in an older copy would otherwise be kept, and shared with other nodes, as one of the
    newer snapshot.
    """

    def __init__(self, catalog: Catalog, replica: LexicalReplica) -> None:
        self._catalog = catalog
        self._replica = replica

    @property
    def snapshot(self) -> int:
        """The snapshot that answers are given from; -1 while there is none."""
        return self._if_contained(self._catalog.snapshot)

    def refresh(self) -> int:
        """Look at the registry now; as `snapshot`."""
        return self._if_contained(self._catalog.refresh())

    def labels(self, principal: Principal) -> list[str]:
        """See `Catalog`."""
        return self._catalog.labels(principal)

    def scopes(self, principal: Principal, narrow: SearchFilter) -> list[str]:
        """See `Catalog`."""
        return self._catalog.scopes(principal, narrow)

    def _if_contained(self, snapshot: int) -> int:
        return snapshot if self._replica.snapshot == snapshot else _NOTHING
