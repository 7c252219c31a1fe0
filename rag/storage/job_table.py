"""Jobs in the registry's database: every process may ask for one and look at it, the process that writes does them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from sqlalchemy import Connection, Engine, insert, select, update

from rag.errors import NotFound
from rag.storage.schema import jobs


class JobTable:
    """The table `jobs`. Every method is one transaction. A job is a JSON document with `id`, `created_at`, `state`."""

    def __init__(self, engine: Engine, require: Callable[[Connection], None] = lambda _: None) -> None:
        """`require` raises, in the transaction of a write, when this process must not write any more."""
        self._engine = engine
        self._require = require

    def save_job(self, job: Mapping[str, Any]) -> None:
        """Store a job; an older one with the same id is replaced, and a wish to stop it stays."""
        with self._engine.begin() as connection:
            self._require(connection)
            if not _update(connection, job):
                values = {"id": job["id"], "created_at": job["created_at"], "state": job["state"], "body": _body(job)}
                connection.execute(insert(jobs).values(values | {"stop": 0}))

    def change_queued(self, job: Mapping[str, Any]) -> bool:
        """Replace a job that is still queued: only one of several that try at the same time gets True."""
        with self._engine.begin() as connection:
            self._require(connection)
            return _update(connection, job, "queued")

    def load_job(self, job_id: str) -> dict[str, Any]:
        """A job. Raises `NotFound`."""
        with self._engine.connect() as connection:
            body = connection.execute(select(jobs.c.body).where(jobs.c.id == job_id)).scalar_one_or_none()
        if body is None:
            raise NotFound(f"there is no job {job_id!r}; GET /v1/jobs lists those there are")
        return cast("dict[str, Any]", json.loads(body))

    def list_jobs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The newest jobs first."""
        query = select(jobs.c.body).order_by(jobs.c.created_at.desc(), jobs.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [json.loads(body) for body in connection.execute(query).scalars()]

    def queued_jobs(self) -> list[dict[str, Any]]:
        """Those that nobody has begun, oldest first."""
        query = select(jobs.c.body).where(jobs.c.state == "queued").order_by(jobs.c.created_at, jobs.c.id)
        with self._engine.connect() as connection:
            return [json.loads(body) for body in connection.execute(query).scalars()]

    def ask_to_stop(self, job_id: str) -> None:
        """Note for the process that does the job that it should stop."""
        with self._engine.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(stop=1))

    def asked_to_stop(self, job_id: str) -> bool:
        """Whether somebody wants the job to stop."""
        with self._engine.connect() as connection:
            return bool(connection.execute(select(jobs.c.stop).where(jobs.c.id == job_id)).scalar())


def _update(connection: Connection, job: Mapping[str, Any], only_if: str = "") -> bool:
    change = update(jobs).where(jobs.c.id == job["id"]).values(state=job["state"], body=_body(job))
    return bool(connection.execute(change.where(jobs.c.state == only_if) if only_if else change).rowcount)


def _body(job: Mapping[str, Any]) -> str:
    return json.dumps(dict(job), ensure_ascii=False)
