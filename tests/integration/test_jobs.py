"""Background ingestion: its states, its memory across restarts, its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rag.domain import DocumentOutcome, IngestReport
from rag.errors import ConfigurationError, NotFound
from rag.ingestion.jobs import FINISHED, Job, JobRunner
from rag.ingestion.run import Progress
from rag.storage.database import open_database
from rag.storage.registry import Registry

UNCHANGED = DocumentOutcome("a" * 16, "file:a", "unchanged")
ADDED = DocumentOutcome("b" * 16, "file:b", "added", pages=1, chunks=2)
FAILED = DocumentOutcome("c" * 16, "file:c", "failed", "encrypted", "c is encrypted; store it without a password")


class Ingestion:
    """An ingestion that a test holds in its hands: it ends when `go` is set, or when it is told to stop."""

    def __init__(self, *outcomes: DocumentOutcome, error: Exception | None = None) -> None:
        self.report = IngestReport(outcomes, snapshot=3, seconds=0.5, pages=1, chunks=2, embedded=2)
        self.error = error
        self.go = threading.Event()
        self.begun = threading.Event()
        self.runs: list[Sequence[str] | None] = []

    def __call__(
        self, sources: Sequence[str] | None, progress: Callable[[Progress], None], stop: threading.Event
    ) -> IngestReport:
        self.runs.append(sources)
        progress(Progress("reading", 1, 2))
        self.begun.set()
        while not self.go.wait(0.005) and not stop.is_set():
            pass
        if self.error:
            raise self.error
        return self.report


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(open_database(f"sqlite:///{tmp_path}/registry.sqlite3"))
    yield registry
    registry.close()


@pytest.fixture
def start(registry: Registry) -> Iterator[Callable[[Ingestion], JobRunner]]:
    runners: list[JobRunner] = []

    def begin(ingestion: Ingestion) -> JobRunner:
        runner = JobRunner(ingestion, registry.jobs)
        runner.start()
        runners.append(runner)
        return runner

    yield begin
    for runner in runners:
        runner.close()


def _submit(runner: JobRunner, document_id: str | None = None) -> Job:
    return runner.submit(["reports"], subject="ann", tenant="default", document_id=document_id)


def _ended(runner: JobRunner, job: Job) -> Job:
    for _ in range(2000):
        found = runner.get(job.id)
        if found.state in FINISHED:
            return found
        time.sleep(0.005)
    raise AssertionError(f"the job did not end: {found}")


def test_job_shows_its_progress_and_then_its_report(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion(UNCHANGED, ADDED)
    runner = start(ingestion)
    job = _submit(runner)
    assert ingestion.begun.wait(10)
    running = runner.get(job.id)
    ingestion.go.set()
    done = _ended(runner, job)
    assert (running.state, running.progress.stage, running.progress.done, running.progress.total) == (
        "running", "reading", 1, 2,
    )  # fmt: skip
    assert (done.state, done.outcomes, done.error) == ("succeeded", (ADDED,), None)
    assert done.report == {
        "counts": {"added": 1, "unchanged": 1}, "snapshot": 3, "seconds": 0.5, "pages": 1, "chunks": 2,
    }  # fmt: skip
    assert ingestion.runs == [("reports",)]


def test_job_with_a_broken_document_fails_and_says_why(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion(ADDED, FAILED)
    ingestion.go.set()
    runner = start(ingestion)
    done = _ended(runner, _submit(runner))
    assert (done.state, done.error) == ("failed", FAILED.message)


def test_job_of_an_upload_is_about_that_upload_alone(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion(ADDED, FAILED)
    ingestion.go.set()
    runner = start(ingestion)
    done = _ended(runner, _submit(runner, ADDED.document_id))
    assert (done.state, done.outcomes) == ("succeeded", (ADDED,))


@pytest.mark.parametrize(
    ("error", "told"),
    [(ConfigurationError("mount the folder"), "mount the folder"), (KeyError("secret"), "Something unexpected")],
)
def test_job_whose_ingestion_raises_fails_and_the_next_one_still_runs(
    start: Callable[[Ingestion], JobRunner], error: Exception, told: str
) -> None:
    ingestion = Ingestion(error=error)
    ingestion.go.set()
    runner = start(ingestion)
    first, second = _submit(runner), _submit(runner)
    done = _ended(runner, first)
    assert done.state == "failed"
    assert done.error is not None
    assert told in done.error
    assert "secret" not in done.error
    assert _ended(runner, second).state == "failed"


def test_queued_job_is_cancelled_at_once_and_never_runs(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion()
    runner = start(ingestion)
    first = _submit(runner)
    assert ingestion.begun.wait(10)
    second = _submit(runner)
    assert runner.cancel(second.id).state == "cancelled"
    ingestion.go.set()
    _ended(runner, first)
    assert len(ingestion.runs) == 1


def test_running_job_is_cancelled_at_its_next_safe_point(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion(ADDED)
    runner = start(ingestion)
    job = _submit(runner)
    assert ingestion.begun.wait(10)
    runner.cancel(job.id)
    done = _ended(runner, job)
    assert (done.state, done.outcomes) == ("cancelled", (ADDED,))


def test_cancelling_a_finished_job_changes_nothing(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion()
    ingestion.go.set()
    runner = start(ingestion)
    done = _ended(runner, _submit(runner))
    assert runner.cancel(done.id) == done


def test_unknown_job_is_not_found(start: Callable[[Ingestion], JobRunner]) -> None:
    runner = start(Ingestion())
    with pytest.raises(NotFound):
        runner.get("0" * 32)
    with pytest.raises(NotFound):
        runner.cancel("0" * 32)


def test_what_a_stopped_service_left_is_taken_up_by_the_next_one(
    start: Callable[[Ingestion], JobRunner], registry: Registry
) -> None:
    first = Ingestion()
    runner = JobRunner(first, registry.jobs)
    runner.start()
    running, queued = _submit(runner), _submit(runner)
    assert first.begun.wait(10)
    runner.close()
    left = [Job.from_dict(registry.jobs.load_job(job.id)).state for job in (running, queued)]
    second = Ingestion(ADDED)
    second.go.set()
    following = start(second)
    assert left == ["queued", "queued"]
    assert [_ended(following, job).state for job in (running, queued)] == ["succeeded", "succeeded"]
    assert len(second.runs) == 2


def test_job_that_was_killed_three_times_is_given_up(
    start: Callable[[Ingestion], JobRunner], registry: Registry
) -> None:
    job = Job("f" * 32, "ingest", "running", None, "ann", "default", "2026-01-01T00:00:00.000+00:00", attempts=3)
    registry.jobs.save_job(asdict(job))
    registry.jobs.save_job(asdict(replace(job, id="e" * 32, attempts=2)))
    ingestion = Ingestion()
    ingestion.go.set()
    runner = start(ingestion)
    given_up = runner.get(job.id)
    assert given_up.state == "failed"
    assert given_up.error is not None
    assert "three times" in given_up.error
    assert _ended(runner, replace(job, id="e" * 32)).state == "succeeded"


def test_latest_jobs_come_newest_first_with_their_live_progress(start: Callable[[Ingestion], JobRunner]) -> None:
    ingestion = Ingestion()
    runner = start(ingestion)
    jobs = []
    for _ in range(3):
        jobs.append(_submit(runner))
        time.sleep(0.002)  # created_at counts milliseconds
    assert ingestion.begun.wait(10)
    latest = runner.latest(2)
    assert [job.id for job in latest] == [jobs[2].id, jobs[1].id]
    assert runner.latest(3)[-1].progress.stage == "reading"
    ingestion.go.set()
