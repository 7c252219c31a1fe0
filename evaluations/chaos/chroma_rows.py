"""F17: a Chroma server that is killed again and again while two writers write."""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evaluations.chaos.rows import LoneRow, Outcome, Plan
from evaluations.chaos.stack import chroma_server
from evaluations.servers import free_ports
from rag.errors import BankSightError
from rag.storage.vectors import Vector, VectorIndex

_SCOPE, _ENCODER = "crashes", "none"
_WRITERS = 2
_BATCH = 20
_DELETED = 0.2  # share of batches that delete an earlier one
_MOST_SECONDS = 0.8  # that writers write before the server is killed
_MOST_BATCHES = 60  # that a writer keeps; more would only make the comparison slower
_SAMPLE = 60  # vectors that are compared after each kill


def vector_of(chunk_id: str) -> Vector:
    """The vector that belongs to an id: always the same, of length 1."""
    row = np.random.default_rng(zlib.crc32(chunk_id.encode())).standard_normal(384).astype(np.float32)
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)


@dataclass
class Writer:
    """Writes and deletes batches until the server dies. `kept` and `gone` are what was acknowledged."""

    name: str
    chance: random.Random
    kept: list[tuple[str, ...]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    doubtful: tuple[str, tuple[str, ...]] | None = None  # what was under way: `upsert` or `delete`, and of what
    written: int = 0

    def work(self, index: VectorIndex, stop: threading.Event) -> None:
        """Until `stop`, or until a call fails."""
        while not stop.is_set():
            deletes = len(self.kept) > _MOST_BATCHES or (self.kept and self.chance.random() < _DELETED)
            batch = self.chance.choice(self.kept) if deletes else self._new()
            self.doubtful = ("delete" if deletes else "upsert", batch)
            try:
                if deletes:
                    index.delete((_SCOPE, each) for each in batch)
                else:
                    vectors = np.asarray([vector_of(each) for each in batch])
                    index.upsert(_SCOPE, batch, vectors, [{"page": 1}] * len(batch))
            except BankSightError:
                return
            self.doubtful = None
            if deletes:
                self._took_away(batch)
            else:
                self.kept.append(batch)

    def settle(self, there: set[str]) -> int:
        """Find out what came of what was under way; 1 where it was done in part."""
        if self.doubtful is None:
            return 0
        (kind, batch), self.doubtful = self.doubtful, None
        found = len(there.intersection(batch))
        if kind == "delete":
            if found == 0:
                self._took_away(batch)
        elif found == len(batch):
            self.kept.append(batch)
        else:
            self.gone.update(batch)
        return int(0 < found < len(batch))

    def _new(self) -> tuple[str, ...]:
        self.written += 1
        return tuple(f"{self.name}-{self.written}-{each}" for each in range(_BATCH))

    def _took_away(self, batch: tuple[str, ...]) -> None:
        self.kept.remove(batch)
        self.gone.update(batch)


@dataclass
class Tally:
    """What must all stay zero, and how much was tried."""

    kills: int = 0
    batches: int = 0
    lost: int = 0
    back: int = 0
    partial: int = 0
    phantoms: int = 0
    wrong_vectors: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was ever wrong."""
        return not (self.lost or self.back or self.partial or self.phantoms or self.wrong_vectors)

    def compare(self, writers: list[Writer], index: VectorIndex, chance: random.Random) -> None:
        """Hold what is there against what was acknowledged."""
        there = {chunk_id for _, chunk_id in index.ids()}
        self.partial += sum(each.settle(there) for each in writers)
        kept = {chunk_id for each in writers for batch in each.kept for chunk_id in batch}
        self.lost += len(kept - there)
        deleted = {chunk_id for each in writers for chunk_id in each.gone}
        self.back += len(there & deleted)
        self.phantoms += len(there - kept - deleted)
        sample = chance.sample(sorted(kept & there), min(_SAMPLE, len(kept & there)))
        stored = index.vectors((_SCOPE, each) for each in sample)
        self.wrong_vectors += sum(
            each not in stored or not np.allclose(stored[each], vector_of(each), atol=1e-5) for each in sample
        )


def crash_loop(folder: Path, kills: int, seed: int) -> Tally:
    """So many times: write, kill -9 at a random moment, start again, compare."""
    chance, tally = random.Random(seed), Tally()  # noqa: S311 - repeatable on purpose
    (port,) = free_ports(1)
    server = chroma_server(folder, port)
    writers = [Writer(f"w{number}", random.Random(seed + number)) for number in range(_WRITERS)]  # noqa: S311
    server.start()
    try:
        for _ in range(kills):
            with _writing(writers, port):
                time.sleep(chance.uniform(0.05, _MOST_SECONDS))
                server.kill()
            server.start()
            index = VectorIndex.server("127.0.0.1", port, 30, _ENCODER)
            tally.compare(writers, index, chance)
            index.close()
            tally.kills += 1
    finally:
        server.kill()
    tally.batches = sum(each.written for each in writers)
    return tally


@contextmanager
def _writing(writers: list[Writer], port: int) -> Iterator[None]:
    """Writers at work, each over a connection of its own."""
    indexes = [VectorIndex.server("127.0.0.1", port, 30, _ENCODER) for _ in writers]
    stop = threading.Event()
    threads = [threading.Thread(target=w.work, args=(i, stop)) for w, i in zip(writers, indexes, strict=True)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for index in indexes:
            index.close()


def chroma_crashes(folder: Path, plan: Plan) -> Outcome:
    """F17"""
    tally = crash_loop(folder, plan.kills, plan.seed)
    bound = 100 * (1 - 0.05 ** (1 / tally.kills))
    words = (
        f"{tally.kills} kills, {tally.batches} batches of {_BATCH}: {tally.lost} acknowledged records lost, "
        f"{tally.back} deleted ones back, {tally.phantoms} unknown, {tally.partial} batches in part, "
        f"{tally.wrong_vectors} wrong vectors"
        + (f" (so at most {bound:.1f} % of kills do harm, with 95 % confidence)" if tally.clean else "")
    )
    return Outcome(tally.clean, words, {"kills": tally.kills, "batches": tally.batches})


ROWS = (
    LoneRow(
        "F17", "kill -9 of Chroma while two writers write", "no acknowledged write lost, back, or half", chroma_crashes
    ),
)
