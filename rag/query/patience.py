"""Searching while the vector database is down or slow: by words alone, in time, and known as such.

Chroma's client waits for each read, so a server that sends a byte now and then holds it for ever. Here every call has a
hard deadline, and after a failure nobody waits for Chroma until a trial, one every second, has succeeded. Nobody waits
for the trial either: it is the call of a question that goes on without its result.
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from rag.errors import StorageUnavailable
from rag.ingestion.splitting import indexed_text
from rag.models.embedding import MiniLM
from rag.query.breaker import Breaker
from rag.settings import StorageSettings
from rag.storage.records import StoredChunk
from rag.storage.registry import Registry
from rag.storage.vectors import Vector, VectorIndex

logger = logging.getLogger(__name__)

NOTICE: Final = (
    "The search by meaning is not available right now, so only passages that share words with the question were read."
)
_SECONDS: Final = 2.0  # for one call; a healthy server on a network needs 0.02
_REST_SECONDS: Final = 1.0  # between two trials
_CALLS: Final = 16  # at the same time; those that hang keep their thread until Chroma's own timeout

Result = TypeVar("Result")


def patient(
    index: VectorIndex, encoder: MiniLM, registry: Registry, settings: StorageSettings
) -> VectorIndex | PatientVectors:
    """What searches use: the index itself where it is in this process, which cannot be away."""
    return PatientVectors(index, encoder, registry.passages) if settings.chroma == "server" else index


class PatientVectors:
    """What a search asks of a `VectorIndex`. While that fails, no neighbours are found, and vectors of known chunks are
    computed from their texts, so that what the lexical search found is judged by the same signals as always.
    """

    def __init__(
        self,
        index: VectorIndex,
        encoder: MiniLM,
        texts: Callable[[Sequence[str]], Mapping[str, StoredChunk]],
        seconds: float = _SECONDS,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._texts = texts
        self._seconds = seconds
        self._breaker = Breaker(1, _REST_SECONDS)
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix="chroma")
        self._failed_at = float("-inf")

    def missed_since(self, moment: float) -> bool:
        """Whether any search went without Chroma since then, by `time.perf_counter`."""
        return self._failed_at >= moment

    def query(self, scopes: Sequence[str], vector: Vector, limit: int) -> list[tuple[str, float]]:
        """See `VectorIndex`. Nothing while it is away."""
        found = self._tried(lambda: self._index.query(scopes, vector, limit))
        return [] if found is None else found

    def query_many(self, scopes: Sequence[str], vectors: Vector, limit: int) -> list[list[tuple[str, float]]]:
        """See `VectorIndex`. Nothing while it is away."""
        found = self._tried(lambda: self._index.query_many(scopes, vectors, limit))
        return [[] for _ in range(len(vectors))] if found is None else found

    def vectors(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Vector]:
        """See `VectorIndex`. Computed while it is away."""
        wanted = list(pairs)
        found = self._tried(lambda: self._index.vectors(wanted))
        if found is not None:
            return found
        chunks = self._texts([chunk_id for _, chunk_id in wanted])
        rows = self._encoder.embed([indexed_text(chunk.node()) for chunk in chunks.values()])
        return dict(zip(chunks, rows, strict=True))

    def _tried(self, call: Callable[[], Result]) -> Result | None:
        """The result; None when there is none in time."""
        if self._breaker.is_open:
            self._failed_at = time.perf_counter()
            if self._breaker.admits():
                self._try(call)
            return None
        context = contextvars.copy_context()  # traces go on in the thread
        try:
            result = self._threads.submit(context.run, call).result(self._seconds)
        except (StorageUnavailable, TimeoutError) as error:
            logger.warning("searching by words alone: %s", error or f"Chroma said nothing for {self._seconds:g} s")
            self._breaker.failed()
            self._failed_at = time.perf_counter()
            return None
        self._breaker.succeeded()
        return result

    def _try(self, call: Callable[[], object]) -> None:
        """Find out whether Chroma answers in time again. Returns at once."""
        began = time.perf_counter()

        def judge(tried: Future[object]) -> None:
            if tried.cancelled() or tried.exception() or time.perf_counter() - began > self._seconds:
                self._breaker.failed()
            else:
                self._breaker.succeeded()

        self._threads.submit(call).add_done_callback(judge)
