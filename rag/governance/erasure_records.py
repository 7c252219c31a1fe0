"""The table of erasures: who asked for one, how far it is, and the certificate at its end.

Whose data are erased stands there sealed, and only until it is done: an erasure must not be what keeps a name.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from sqlalchemy import Engine, insert, select, update

from rag.errors import NotFound
from rag.governance.subjects import SubjectKeys
from rag.storage.schema import erasures
from rag.storage.uploaders import Uploaded

if TYPE_CHECKING:
    from rag.ingestion.jobs import Job, Kind

AskedBy = Literal["person", "operator"]
JOB: Final = "erase"  # kind of the jobs that do it


@dataclass(slots=True)
class Progress:
    """What an erasure needs until it is done, across restarts. `done` has what each finished step says of itself.

    `uploads` and `markers`, which are bytes of their contents, are None until they were looked for.
    """

    tenant: str
    subject: str
    uploads: list[Uploaded] | None = None
    uploaded_ever: bool = False
    markers: list[bytes] | None = None
    done: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Erasure:
    """One that was asked for. `name` stands for the person. `asked_at`: seconds since 1970."""

    id: str
    name: str
    asked_by: str
    asked_at: int


class Erasures:
    """Reads and writes erasures. Every method is one transaction, and blocks."""

    def __init__(self, database: Engine, subjects: SubjectKeys) -> None:
        self._database = database
        self._subjects = subjects

    def ask(self, tenant: str, subject: str, asked_by: AskedBy) -> str:
        """The id of an erasure of this person that is to be done: a new one, or the one that is not done yet."""
        name = self._subjects.name(tenant, subject)
        unfinished = select(erasures.c.id).where(erasures.c.name == name, erasures.c.certificate.is_(None))
        with self._database.begin() as connection:
            found = connection.execute(unfinished).scalars().first()
            if found is not None:
                return str(found)
            erasure_id = uuid.uuid4().hex
            sealed = self._seal(erasure_id, Progress(tenant, subject))
            row = {"id": erasure_id, "name": name, "asked_by": asked_by, "asked_at": int(time.time())}
            connection.execute(insert(erasures).values(sealed=sealed, **row))
        return erasure_id

    def pending(self) -> list[str]:
        """Those that are not done, oldest first."""
        query = select(erasures.c.id).where(erasures.c.certificate.is_(None)).order_by(erasures.c.asked_at)
        with self._database.connect() as connection:
            return list(connection.execute(query).scalars())

    def load(self, erasure_id: str) -> tuple[Erasure, Progress | None]:
        """An erasure, and how far it is; None once it is done. Raises `NotFound`."""
        row = self._row(erasure_id)
        known = Erasure(row.id, row.name, row.asked_by, row.asked_at)
        return known, self._unseal(row.id, row.sealed) if row.sealed else None

    def save(self, erasure_id: str, progress: Progress) -> None:
        """Remember how far it is."""
        self._set(erasure_id, sealed=self._seal(erasure_id, progress))

    def finish(self, erasure_id: str, certificate: dict[str, Any]) -> None:
        """It is done: keep the certificate and nothing else."""
        self._set(erasure_id, sealed=None, certificate=json.dumps(certificate))

    def certificate(self, erasure_id: str) -> dict[str, Any] | None:
        """The certificate; None while it is not done. Raises `NotFound`."""
        found = self._row(erasure_id).certificate
        return dict(json.loads(found)) if found else None

    def _row(self, erasure_id: str) -> Any:
        with self._database.connect() as connection:
            row = connection.execute(select(erasures).where(erasures.c.id == erasure_id)).one_or_none()
        if row is None:
            raise NotFound(f"there is no erasure {erasure_id!r}")
        return row

    def _set(self, erasure_id: str, **values: str | None) -> None:
        with self._database.begin() as connection:
            connection.execute(update(erasures).where(erasures.c.id == erasure_id).values(**values))

    def _seal(self, erasure_id: str, progress: Progress) -> str:
        content = asdict(progress)
        if progress.markers is not None:
            content["markers"] = [base64.b64encode(each).decode() for each in progress.markers]
        return self._subjects.wrap(json.dumps(content).encode(), erasure_id)

    def _unseal(self, erasure_id: str, sealed: str) -> Progress:
        content = json.loads(self._subjects.unwrap(sealed, erasure_id))
        found = Progress(**content)
        if content["uploads"] is not None:
            found.uploads = [Uploaded(**each) for each in content["uploads"]]
        if content["markers"] is not None:
            found.markers = [base64.b64decode(each) for each in content["markers"]]
        return found


class Jobs(Protocol):
    """What does things in the background: `rag.ingestion.jobs.JobRunner`, or the queue of a process that reads."""

    def submit(
        self, sources: Sequence[str] | None, *, subject: str, tenant: str, document_id: str | None, kind: Kind
    ) -> Job:
        """A queued job."""

    def latest(self, limit: int) -> list[Job]:
        """The latest jobs, newest first."""


def queue(erasure_id: str, jobs: Jobs) -> None:
    """Have an erasure done in the background. The job does not name the person."""
    jobs.submit(None, subject="", tenant="", document_id=erasure_id, kind="erase")


def take_up(erasures_known: Erasures, jobs: Jobs) -> None:
    """Have those done that a killed command left behind. Jobs that a killed service left are taken up anyway."""
    pending = erasures_known.pending()
    if pending:
        queued = {each.document_id for each in jobs.latest(1000) if each.kind == JOB and each.finished_at is None}
        for each in pending:
            if each not in queued:
                queue(each, jobs)
