"""Ingestion in the background of the process that writes: one at a time, in one thread, remembered across restarts.

A job that a stopped or killed process left behind is taken up again by the next one: ingestion is incremental, so doing
it twice changes nothing. One that was begun three times and never ended is given up, because it may be what kills us.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rag.domain import DocumentOutcome, IngestReport
from rag.errors import BankSightError

if TYPE_CHECKING:
    from rag.ingestion.run import Progress

logger = logging.getLogger(__name__)

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["ingest", "delete", "snapshot", "erase"]
FINISHED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
MAX_ATTEMPTS = 3
_LOOK_EVERY_SECONDS = 0.3  # at what other processes ask for
_PROGRESS_SECONDS = 1.0  # progress is written down at most this often; readers in this process always see the latest


class JobStore(Protocol):
    """Where jobs are remembered: `rag.storage.job_table.JobTable`."""

    def save_job(self, job: dict[str, Any]) -> None:
        """Insert or replace the job with this id."""

    def load_job(self, job_id: str) -> dict[str, Any]:
        """The job. Raises `NotFound`."""

    def list_jobs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The latest jobs, newest first."""

    def queued_jobs(self) -> list[dict[str, Any]]:
        """Those that nobody has begun, oldest first."""

    def change_queued(self, job: dict[str, Any]) -> bool:
        """Replace a job that is still queued; False when it is not."""

    def asked_to_stop(self, job_id: str) -> bool:
        """Whether another process wants the job to stop."""


Delete = Callable[[str], IngestReport]
Ingest = Callable[[Sequence[str] | None, "Callable[[Progress], None]", threading.Event], IngestReport]


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is."""

    stage: str = "queued"
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """An ingestion, a deletion, an erasure or the copy for a backup. `sources` None means every configured source.

    `document_id` names the upload that an ingestion is for, the document to be deleted, or the erasure to be done.
    """

    id: str
    kind: Kind
    state: JobState
    sources: tuple[str, ...] | None
    subject: str
    tenant: str
    created_at: str
    document_id: str | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    outcomes: tuple[DocumentOutcome, ...] = ()
    report: dict[str, Any] | None = None
    error: str | None = None
    finished_at: str | None = None
    attempts: int = 0

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Job:
        """The job that `asdict` of one gave, also after a trip through JSON."""
        sources = stored["sources"]
        return cls(
            **{
                **stored,
                "sources": None if sources is None else tuple(sources),
                "progress": JobProgress(**stored["progress"]),
                "outcomes": tuple(DocumentOutcome(**outcome) for outcome in stored["outcomes"]),
            }
        )


class JobRunner:
    """Runs ingestion jobs one after the other. Safe to call from any thread.

    `finished` is called with every report, in the runner's thread; metrics use it.
    """

    def __init__(
        self,
        ingest: Ingest,
        store: JobStore,
        finished: Callable[[IngestReport], None] | None = None,
        delete: Delete | None = None,
        snapshot: Callable[[str], IngestReport] | None = None,
        erase: Delete | None = None,
    ) -> None:
        """With `delete` or `erase`, what other processes ask for in the same store is done too.

        `snapshot` gets the job's id.
        """
        self._ingest = ingest
        self._delete = delete
        self._snapshot = snapshot
        self._erase = erase
        self._store = store
        self._finished = finished
        self._lock = threading.Lock()
        self._live: dict[str, Job] = {}
        self._stops: dict[str, threading.Event] = {}
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="ingestion-jobs", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the runner works; it ends when jobs cannot be written down any more."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Take up what an earlier process left, and begin to work."""
        for stored in reversed(self._store.list_jobs(1000)):
            job = Job.from_dict(stored)
            if job.state in FINISHED:
                continue
            if job.attempts >= MAX_ATTEMPTS:
                error = "The service stopped three times while this job ran; look at the log, then start it again."
                self._keep(replace(job, state="failed", error=error, finished_at=now()))
            else:
                self._enqueue(replace(job, state="queued", progress=JobProgress()))
        self._thread.start()

    def submit(
        self,
        sources: Sequence[str] | None,
        *,
        subject: str,
        tenant: str,
        document_id: str | None = None,
        kind: Kind = "ingest",
    ) -> Job:
        """A queued job, already remembered."""
        job = new_job(sources, subject=subject, tenant=tenant, document_id=document_id, kind=kind)
        self._enqueue(job)
        return job

    def get(self, job_id: str) -> Job:
        """The job as it is now. Raises `NotFound`."""
        with self._lock:
            live = self._live.get(job_id)
        return live or Job.from_dict(self._store.load_job(job_id))

    def latest(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""
        with self._lock:
            live = dict(self._live)
        return [live.get(stored["id"]) or Job.from_dict(stored) for stored in self._store.list_jobs(limit)]

    def cancel(self, job_id: str) -> Job:
        """Ask the job to stop; a queued one ends at once, a running one at its next safe point. Raises `NotFound`."""
        with self._lock:
            job = self._live.get(job_id)
            stop = self._stops.get(job_id)
        if job is None or stop is None:
            return self.get(job_id)
        stop.set()
        if job.state == "queued":
            self._end(replace(job, state="cancelled"))
        return self.get(job_id)

    def close(self) -> None:
        """Stop the running job at its next safe point, and wait for it. Unfinished jobs stay for the next process."""
        self._closing = True
        self._queue.put(None)
        with self._lock:
            stops = list(self._stops.values())
        for stop in stops:
            stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _enqueue(self, job: Job) -> None:
        with self._lock:
            self._live[job.id] = job
            self._stops[job.id] = threading.Event()
        self._store.save_job(asdict(job))
        self._queue.put(job.id)

    def _work(self) -> None:
        while not self._closing:
            try:
                job_id = self._queue.get(timeout=_LOOK_EVERY_SECONDS if self._delete or self._erase else None)
            except queue.Empty:
                self._look()
                continue
            with self._lock:
                job = self._live.get(job_id or "")
            if job is not None and job.state == "queued" and not self._closing:
                self._run(job)

    def _look(self) -> None:
        """Take up what other processes ask for."""
        try:
            asked = [Job.from_dict(stored) for stored in self._store.queued_jobs()]
        except Exception:  # the database is away; the jobs are still there when it is back
            logger.exception("the jobs cannot be read now")
            return
        with self._lock:
            new = [job for job in asked if job.id not in self._live]
            self._live |= {job.id: job for job in new}
            self._stops |= {job.id: threading.Event() for job in new}
        for job in new:
            self._queue.put(job.id)

    def _run(self, job: Job) -> None:
        job = replace(job, state="running", attempts=job.attempts + 1)
        stop = self._stops[job.id]
        if not self._store.change_queued(asdict(job)):  # somebody cancelled it
            self._forget(job.id)
            return
        with self._lock:
            self._live[job.id] = job
        try:
            report = self._report(job, stop)
        except BankSightError as error:
            self._end(replace(self.get(job.id), state="failed", error=str(error)))
        except Exception:  # the runner must outlive whatever one job does
            logger.exception("job %s failed", job.id)
            self._end(replace(self.get(job.id), state="failed", error="Something unexpected went wrong; see the log."))
        else:
            self._conclude(self.get(job.id), report, stop)

    def _report(self, job: Job, stop: threading.Event) -> IngestReport:
        if job.kind == "delete" and self._delete and job.document_id:
            return self._delete(job.document_id)
        if job.kind == "snapshot" and self._snapshot:
            return self._snapshot(job.id)
        if job.kind == "erase" and self._erase and job.document_id:
            return self._erase(job.document_id)
        return self._ingest(job.sources, self._note_progress(job.id), stop)

    def _conclude(self, job: Job, report: IngestReport, stop: threading.Event) -> None:
        if self._finished is not None:
            self._finished(report)
        if stop.is_set() and self._closing:
            self._keep(replace(job, state="queued", progress=JobProgress(), attempts=job.attempts - 1))
            return
        changed = tuple(each for each in report.outcomes if each.outcome != "unchanged")
        if job.document_id is not None:
            changed = tuple(each for each in report.outcomes if each.document_id == job.document_id)
        job = replace(job, outcomes=changed, report=summary(report))
        broken = any(each.outcome in ("failed", "quarantined") for each in changed)
        if stop.is_set():
            self._end(replace(job, state="cancelled"))
        elif broken:
            self._end(replace(job, state="failed", error=_blame(changed)))
        else:
            self._end(replace(job, state="succeeded"))

    def _note_progress(self, job_id: str) -> Callable[[Progress], None]:
        written = time.monotonic()

        def note(progress: Progress) -> None:
            nonlocal written
            with self._lock:
                job = self._live[job_id]
                job = replace(job, progress=JobProgress(progress.stage, progress.done, progress.total))
                self._live[job_id] = job
            if time.monotonic() - written >= _PROGRESS_SECONDS:
                written = time.monotonic()
                self._store.save_job(asdict(job))
                if self._store.asked_to_stop(job_id):
                    self._stops[job_id].set()

        return note

    def _keep(self, job: Job) -> None:
        with self._lock:
            self._live[job.id] = job
        self._store.save_job(asdict(job))

    def _end(self, job: Job) -> None:
        self._store.save_job(asdict(replace(job, finished_at=now())))
        self._forget(job.id)

    def _forget(self, job_id: str) -> None:
        with self._lock:
            self._live.pop(job_id, None)
            self._stops.pop(job_id, None)


def new_job(
    sources: Sequence[str] | None, *, subject: str, tenant: str, document_id: str | None, kind: Kind = "ingest"
) -> Job:
    """A job that nobody has begun."""
    return Job(
        id=uuid.uuid4().hex,
        kind=kind,
        state="queued",
        sources=None if sources is None else tuple(sources),
        subject=subject,
        tenant=tenant,
        created_at=now(),
        document_id=document_id,
    )


def summary(report: IngestReport) -> dict[str, Any]:
    """The sums of a report, as JSON takes them."""
    kinds = sorted({each.outcome for each in report.outcomes})
    return {
        "counts": {kind: report.count(kind) for kind in kinds},
        "snapshot": report.snapshot,
        "seconds": report.seconds,
        "pages": report.pages,
        "chunks": report.chunks,
    }


def _blame(outcomes: Sequence[DocumentOutcome]) -> str:
    broken = [each for each in outcomes if each.outcome in ("failed", "quarantined")]
    more = f" ({len(broken) - 1} more documents under outcomes.)" if len(broken) > 1 else ""
    return f"{broken[0].message or broken[0].reason}{more}"


def now() -> str:
    """The time as jobs have it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
