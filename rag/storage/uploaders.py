"""Who uploaded which document: the table `uploads`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from rag.domain import Document, Principal
from rag.storage.database import inserting
from rag.storage.schema import uploads


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A document, the file that it was uploaded as, and when, in seconds since 1970."""

    document_id: str
    collection: str
    name: str
    uploaded_at: int


class Uploaders:
    """Reads and writes who uploaded what. Every method is one transaction."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def note(self, document: Document, principal: Principal) -> None:
        """This person uploaded the version that is there from now on."""
        key = {"document_id": document.id, "tenant": principal.tenant, "subject": principal.subject}
        with self._database.begin() as connection:
            latest = connection.execute(
                select(func.max(uploads.c.uploaded_at)).where(uploads.c.document_id == document.id)
            ).scalar()
            values = {
                "collection": document.collection,
                "name": document.uri.removeprefix("file:"),
                "uploaded_at": max(int(time.time()), (latest or 0) + 1),  # later than whoever did before
            }
            change = inserting(connection, uploads).values(**key, **values)
            connection.execute(
                change.on_conflict_do_update(index_elements=[uploads.c[each] for each in key], set_=values)
            )

    def of(self, tenant: str, subject: str) -> list[Uploaded]:
        """What this person uploaded, and nobody replaced since, oldest first."""
        with self._database.connect() as connection:
            mine = connection.execute(select(uploads).filter_by(tenant=tenant, subject=subject)).all()
        replaced = self.owned_by_others([row.document_id for row in mine], tenant, subject)
        found = [
            Uploaded(row.document_id, row.collection, row.name, row.uploaded_at)
            for row in mine
            if row.document_id not in replaced
        ]
        return sorted(found, key=lambda each: (each.uploaded_at, each.document_id))

    def ever(self, tenant: str, subject: str) -> bool:
        """Whether this person ever uploaded something, whatever became of it."""
        query = select(uploads.c.document_id).filter_by(tenant=tenant, subject=subject).limit(1)
        with self._database.connect() as connection:
            return connection.execute(query).first() is not None

    def owned_by_others(self, document_ids: Iterable[str], tenant: str, subject: str) -> set[str]:
        """Those of the documents that somebody else uploaded last."""
        query = select(uploads).where(uploads.c.document_id.in_(list(document_ids))).order_by(uploads.c.uploaded_at)
        with self._database.connect() as connection:
            last = {row.document_id: (row.tenant, row.subject) for row in connection.execute(query)}
        return {document_id for document_id, person in last.items() if person != (tenant, subject)}
