"""Rows of the registry's database that name a person."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, Engine, delete, select, update

from rag.governance.keys import KeyStore
from rag.governance.tokens import subject_key
from rag.storage.schema import chunks, consents, documents, jobs, labels, pages, released, uploads

NOBODY: Final = "erased"  # in the place of who added a label or released a document
_LONGEST_TOKEN_SECONDS: Final = 366 * 86_400


def end_access(keys: KeyStore, tenant: str, subject: str) -> int:
    """Delete a person's keys and refuse the tokens issued until now. Returns how many keys went."""
    now = int(time.time())
    gone = keys.delete_all(tenant, subject)
    keys.sign_out(subject_key(subject), now, now + _LONGEST_TOKEN_SECONDS)
    return gone


def erase_rows(database: Engine, tenant: str, subject: str, document_ids: Collection[str]) -> dict[str, int]:
    """Delete what says what a person agreed to, started, uploaded, labelled or released. Returns how many rows changed.

    `document_ids` were theirs: what others did with them goes as well.
    """
    ids = list(document_ids)
    with database.begin() as connection:
        agreed = connection.execute(delete(consents).filter_by(tenant=tenant, subject=subject)).rowcount
        for table in (labels, released):
            connection.execute(delete(table).where(table.c.document_id.in_(ids)))
        named = connection.execute(update(labels).filter_by(added_by=subject).values(added_by=NOBODY)).rowcount
        named += connection.execute(update(released).filter_by(released_by=subject).values(released_by=NOBODY)).rowcount
        started = _erase_jobs(connection, tenant, subject, set(ids))
        connection.execute(delete(uploads).filter_by(tenant=tenant, subject=subject))
    return {"consents": agreed, "jobs": started, "names": named}


def _erase_jobs(connection: Connection, tenant: str, subject: str, document_ids: set[str]) -> int:
    """Delete the jobs of a person, and take their documents out of what other jobs report."""
    changed = 0
    for row in connection.execute(select(jobs.c.id, jobs.c.body)).all():
        job = json.loads(row.body)
        theirs = (job["tenant"], job["subject"]) == (tenant, subject) or job.get("document_id") in document_ids
        kept = [each for each in job["outcomes"] if each["document_id"] not in document_ids]
        if theirs:
            connection.execute(delete(jobs).where(jobs.c.id == row.id))
        elif len(kept) < len(job["outcomes"]):
            body = json.dumps({**job, "outcomes": kept}, ensure_ascii=False)
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(body=body))
        else:
            continue
        changed += 1
    return changed


def mentions(database: Engine, text: str) -> bool:
    """Whether a document that is there has this text on a page, or in its title, place or labels."""
    columns = (pages.c.text, documents.c.title, documents.c.uri, documents.c.access)
    with database.connect() as connection:
        return any(
            connection.execute(select(column).where(column.contains(text, autoescape=True)).limit(1)).first()
            for column in columns
        )


def own_chunks(database: Engine, document_id: str) -> list[tuple[str, str]]:
    """Scope and id of the chunks of a document whose text no other document has: nobody else has their vectors."""
    others = chunks.alias()
    shared = select(others.c.id).where(
        others.c.indexed_hash == chunks.c.indexed_hash, others.c.document_id != chunks.c.document_id
    )
    query = select(chunks.c.scope, chunks.c.id).where(chunks.c.document_id == document_id, ~shared.exists())
    with database.connect() as connection:
        return [(row.scope, row.id) for row in connection.execute(query.order_by(chunks.c.id))]
