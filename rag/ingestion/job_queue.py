"""Jobs as a process sees them that only reads: it asks for them and looks at them; `banksight worker` does them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from rag.domain import Principal
from rag.errors import BankSightError, Busy
from rag.ingestion.jobs import FINISHED, Job, Kind, new_job, now
from rag.storage.job_table import JobTable

_LOOK_EVERY_SECONDS: Final = 0.1
_BUSY: Final = "documents are being ingested now, or no `banksight worker` runs; try again in a moment"


class JobQueue:
    """The same calls as a `JobRunner`'s. Safe to use from any thread."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

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
        self._table.save_job(asdict(job))
        return job

    def get(self, job_id: str) -> Job:
        """The job as it was last written down. Raises `NotFound`."""
        return Job.from_dict(self._table.load_job(job_id))

    def latest(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""
        return [Job.from_dict(stored) for stored in self._table.list_jobs(limit)]

    def cancel(self, job_id: str) -> Job:
        """Ask the job to stop; a queued one ends at once, a running one at its next safe point. Raises `NotFound`."""
        job = self.get(job_id)
        ended = replace(job, state="cancelled", finished_at=now())
        if job.state not in FINISHED and not self._table.change_queued(asdict(ended)):
            self._table.ask_to_stop(job_id)
        return self.get(job_id)

    def do_soon(self, kind: Kind, document_id: str | None, *, subject: str, tenant: str, seconds: float) -> None:
        """Have this done and wait for it. Raises `Busy` when it was not begun in `seconds`; then it is not done."""
        job = self.submit(None, subject=subject, tenant=tenant, document_id=document_id, kind=kind)
        until = time.monotonic() + seconds
        while job.state not in FINISHED:
            if job.state == "queued" and time.monotonic() > until:
                job = self.cancel(job.id)
                continue
            time.sleep(_LOOK_EVERY_SECONDS)
            job = self.get(job.id)
        if job.state == "cancelled":
            raise Busy(_BUSY, retry_after=10)
        if job.state == "failed":
            raise BankSightError(job.error or _BUSY)

    def ingest(
        self, sources: Sequence[str] | None, follow: Callable[[dict[str, Any]], None], principal: Principal
    ) -> dict[str, Any]:
        """Have the sources ingested and wait for the end. `follow` gets the job document; Ctrl-C cancels the job."""
        job = self.submit(sources, subject=principal.subject, tenant=principal.tenant)
        try:
            while job.state not in FINISHED:
                follow(asdict(job))
                time.sleep(_LOOK_EVERY_SECONDS)
                job = self.get(job.id)
        except KeyboardInterrupt:
            self.cancel(job.id)
            raise
        return asdict(job)

    def close(self) -> None:
        """Nothing to end: the jobs are the worker's."""
