"""What processes and machines that share a registry rely on: one writes at a time, jobs, and copies of the index."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from rag.domain import Document, DocumentOutcome, DocumentPage, IngestReport, Principal, SearchFilter
from rag.errors import Busy, StorageUnavailable
from rag.ingestion.job_queue import JobQueue
from rag.ingestion.jobs import Job, JobRunner
from rag.storage import lease as leases
from rag.storage.catalog import Catalog
from rag.storage.database import open_database
from rag.storage.lease import WriterLease
from rag.storage.records import NewChunk, Version
from rag.storage.registry import Registry
from rag.storage.replica import LexicalReplica, ReplicatedCorpus

FEES = "A wire transfer costs twenty dollars."
CARDS = "Report a lost card by telephone."


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def registry(database: Engine) -> Registry:
    return Registry(database)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "_DEAD_AFTER_SECONDS", 0.5)


def place(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    return folder


def commit(registry: Registry, name: str, text: str, access: frozenset[str] = frozenset()) -> int:
    """A document with one chunk; returns the snapshot."""
    document = Document(
        id=f"{name:0>16}", source="papers", uri=f"file:{name}", title=name, collection="rules", tenant="default",
        media_type="text/plain", fingerprint="1", content_hash=name, access=access, state="pending", pages=1, chunks=1,
        size_bytes=len(text),
    )  # fmt: skip
    page = DocumentPage(document.id, 1, "1", text)
    chunk = NewChunk(f"{document.id}-{abs(hash(text))}", 1, 0, len(text), "", "", "h")
    version = Version(document, "-".join(["s", *access]), (page,), (chunk,))
    registry.begin([version])
    return registry.commit([version])[1]


# --- who writes ---


def freeze(holder: WriterLease) -> None:
    """As a process that hangs: it holds on to the lease and does not renew it."""
    holder._ending.set()
    holder._thread.join()


def test_second_writer_is_told_while_the_first_one_lives(database: Engine, tmp_path: Path, quick: None) -> None:
    first = WriterLease(database, place(tmp_path, "one"))
    with pytest.raises(Busy, match="another process writes"):
        WriterLease(database, place(tmp_path, "two"))
    first.release()
    WriterLease(database, place(tmp_path, "two")).release()


def test_silent_writer_is_followed_and_cannot_write_any_more(database: Engine, tmp_path: Path, quick: None) -> None:
    first = WriterLease(database, place(tmp_path, "one"))
    deposed = Registry(database, first.require)
    snapshot = commit(deposed, "fees", FEES)
    freeze(first)
    second = WriterLease(database, place(tmp_path, "two"))
    with pytest.raises(StorageUnavailable, match="taken over writing"):
        commit(deposed, "cards", CARDS)
    assert first.lost
    registry = Registry(database, second.require)
    assert registry.snapshot() == snapshot
    assert commit(registry, "cards", CARDS) == snapshot + 1
    second.release()


def test_dead_writer_with_the_same_folder_needs_no_patience(database: Engine, tmp_path: Path) -> None:
    folder = place(tmp_path, "one")
    dead = WriterLease(database, folder)
    freeze(dead)
    successor = WriterLease(database, folder)
    with pytest.raises(StorageUnavailable, match="taken over writing"):
        commit(Registry(database, dead.require), "fees", FEES)
    assert not successor.lost
    successor.release()


def test_only_one_of_many_gets_the_lease(database: Engine, tmp_path: Path, quick: None) -> None:
    freeze(WriterLease(database, place(tmp_path, "dead")))
    got: list[WriterLease] = []

    def take(number: int) -> None:
        with suppress(Busy):
            got.append(WriterLease(database, place(tmp_path, str(number))))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()


def test_reader_waits_for_the_writer_to_bring_the_schema(url: str, database: Engine) -> None:
    open_database(url, "require").dispose()
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageUnavailable, match=r"schema version 9999.*banksight worker"):
        open_database(url, "require")


# --- jobs ---


class Work:
    """What a worker does; it waits to be told to go on."""

    def __init__(self) -> None:
        self.go, self.begun, self.deleted = threading.Event(), threading.Event(), list[str]()

    def ingest(self, _: object, progress: Callable[..., None], stop: threading.Event) -> IngestReport:
        self.begun.set()
        while not self.go.wait(0.01) and not stop.is_set():
            pass
        return IngestReport((), 1, 0.0, 0, 0, 0)

    def delete(self, document_id: str) -> IngestReport:
        self.deleted.append(document_id)
        return IngestReport((DocumentOutcome(document_id, "file:a", "deleted"),), 2, 0.0, 0, 0, 0)


@contextmanager
def worker(registry: Registry, work: Work) -> Iterator[JobRunner]:
    runner = JobRunner(work.ingest, registry.jobs, delete=work.delete)
    runner.start()
    try:
        yield runner
    finally:
        runner.close()


def ended(queue: JobQueue, job: Job) -> Job:
    pause = threading.Event()
    for _ in range(3000):
        if queue.get(job.id).finished_at is not None:
            return queue.get(job.id)
        pause.wait(0.01)
    raise AssertionError(f"the job did not end: {queue.get(job.id)}")


def test_job_that_a_reader_asks_for_is_done_by_the_worker(registry: Registry) -> None:
    queue, work = JobQueue(registry.jobs), Work()
    work.go.set()
    with worker(registry, work):
        job = queue.submit(["reports"], subject="ann", tenant="default")
        assert ended(queue, job).state == "succeeded"


def test_job_of_a_killed_worker_is_done_by_the_next_one(registry: Registry) -> None:
    queue, work = JobQueue(registry.jobs), Work()
    job = queue.submit(None, subject="ann", tenant="default")
    registry.jobs.save_job({**asdict(job), "state": "running", "attempts": 1})
    work.go.set()
    with worker(registry, work):
        done = ended(queue, job)
    assert (done.state, done.attempts) == ("succeeded", 2)


def test_queued_job_that_a_reader_cancels_is_never_begun(registry: Registry) -> None:
    queue, work = JobQueue(registry.jobs), Work()
    with worker(registry, work):
        first = queue.submit(None, subject="ann", tenant="default")
        assert work.begun.wait(10)
        second = queue.submit(None, subject="ann", tenant="default")
        assert queue.cancel(second.id).state == "cancelled"
        work.begun.clear()
        work.go.set()
        ended(queue, first)
        assert ended(queue, queue.submit(None, subject="ann", tenant="default")).attempts == 1
    assert queue.get(second.id).attempts == 0


def test_deletion_is_done_when_the_call_returns(registry: Registry) -> None:
    queue, work = JobQueue(registry.jobs), Work()
    with worker(registry, work):
        queue.do_soon("delete", "d", subject="ann", tenant="default", seconds=10)
    assert work.deleted == ["d"]


def test_deletion_is_refused_and_not_done_later_while_documents_are_ingested(registry: Registry) -> None:
    queue, work = JobQueue(registry.jobs), Work()
    with worker(registry, work):
        first = queue.submit(None, subject="ann", tenant="default")
        assert work.begun.wait(10)
        with pytest.raises(Busy, match="being ingested"):
            queue.do_soon("delete", "d", subject="ann", tenant="default", seconds=0.2)
        work.go.set()
        ended(queue, first)
        ended(queue, queue.submit(None, subject="ann", tenant="default"))
    assert work.deleted == []


# --- copies of the lexical index ---


def words(replica: LexicalReplica, question: str, scope: str = "s") -> list[str]:
    return [chunk_id.partition("-")[0].lstrip("0") for chunk_id, _ in replica.index.search(question, [scope], 10)]


@pytest.fixture
def open_replica(registry: Registry, tmp_path: Path) -> Iterator[Callable[..., LexicalReplica]]:
    opened: list[LexicalReplica] = []

    def make(folder: str = "node") -> LexicalReplica:
        opened.append(LexicalReplica(tmp_path / folder / "lexical", registry, Catalog(registry)))
        return opened[-1]

    yield make
    for replica in opened:
        replica.close()


def test_copy_has_what_was_there_and_gets_what_comes_changes_and_goes(
    registry: Registry, open_replica: Callable[..., LexicalReplica]
) -> None:
    commit(registry, "fees", FEES)
    first, second, elsewhere = open_replica(), open_replica(), open_replica("another-node")
    assert words(first, "wire transfer") == words(second, "wire transfer") == ["fees"]
    commit(registry, "cards", CARDS)
    commit(registry, "fees", "An account costs nothing.")
    for replica in (second, elsewhere):
        assert replica.follow() == "current"
    for replica in (first, second, elsewhere):  # the first one shares the second one's folder
        assert words(replica, "lost card") == ["cards"]
        assert words(replica, "wire transfer") == []
    registry.remove([f"{'cards':0>16}"])
    first.follow()
    assert words(second, "lost card") == []
    assert first.index.ids() == registry.chunk_pairs()


def test_document_with_new_labels_is_in_its_new_scope_only(
    registry: Registry, open_replica: Callable[..., LexicalReplica]
) -> None:
    commit(registry, "fees", FEES)
    replica = open_replica()
    commit(registry, "fees", FEES, frozenset({"board"}))
    replica.follow()
    assert words(replica, "wire transfer") == []
    assert words(replica, "wire transfer", "s-board") == ["fees"]


@pytest.mark.parametrize("damage", ["no note", "an old note", "another version", "half an index"])
def test_copy_that_a_kill_or_a_disk_spoilt_is_right_after_opening(
    damage: str, registry: Registry, open_replica: Callable[..., LexicalReplica], tmp_path: Path
) -> None:
    commit(registry, "fees", FEES)
    commit(registry, "cards", CARDS)
    open_replica().close()
    registry.remove([f"{'fees':0>16}"])
    folder = tmp_path / "node" / "lexical"
    note = folder.with_suffix(".json")
    if damage == "no note":
        note.unlink()
    elif damage == "an old note":
        note.write_text('{"snapshot": 1}', encoding="utf-8")
    elif damage == "another version":
        (folder / "format.json").write_text('{"format": "0"}', encoding="utf-8")
    else:
        (folder / "meta.json").write_text("{", encoding="utf-8")
    replica = open_replica()
    assert replica.index.ids() == registry.chunk_pairs()
    assert words(replica, "lost card") == ["cards"]


def test_registry_that_came_back_from_a_backup_is_followed(
    registry: Registry, open_replica: Callable[..., LexicalReplica]
) -> None:
    commit(registry, "fees", FEES)
    replica = open_replica()
    commit(registry, "cards", CARDS)
    replica.follow()
    registry.remove([f"{'cards':0>16}"])
    registry.set_value("snapshot", "1")
    replica.follow()
    assert (replica.snapshot, replica.index.ids()) == (1, registry.chunk_pairs())


def test_answers_are_not_kept_while_the_copy_is_behind(
    registry: Registry, open_replica: Callable[..., LexicalReplica]
) -> None:
    commit(registry, "fees", FEES)
    replica = open_replica()
    corpus = ReplicatedCorpus(Catalog(registry), replica)
    assert corpus.refresh() == registry.snapshot()
    snapshot = commit(registry, "cards", CARDS)
    assert corpus.refresh() == corpus.snapshot == -1
    replica.follow()
    assert corpus.refresh() == snapshot
    assert corpus.scopes(Principal("ann"), SearchFilter()) == ["s"]


def test_started_copy_follows_by_itself(registry: Registry, open_replica: Callable[..., LexicalReplica]) -> None:
    replica = open_replica().start()
    commit(registry, "fees", FEES)
    pause = threading.Event()
    tries = 0
    while not words(replica, "wire transfer") and tries < 1000:
        pause.wait(0.02)
        tries += 1
    assert words(replica, "wire transfer")
