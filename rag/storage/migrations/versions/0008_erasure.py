"""Who uploaded a document, and erasures of persons."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008_erasure"
down_revision = "0007_shared_jobs"
branch_labels = None
depends_on = None

_JOBS = sa.table("jobs", sa.column("created_at", sa.String), sa.column("body", sa.Text))
_DOCUMENTS = sa.table(
    "documents", sa.column("id", sa.String), sa.column("source", sa.String), sa.column("uri", sa.Text)
)


def upgrade() -> None:
    uploads = op.create_table(
        "uploads",
        sa.Column("document_id", sa.String(16), primary_key=True),
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("collection", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uploaded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_uploads_of_person", "uploads", ["tenant", "subject"])
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("asked_by", sa.String(16), nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.Text),
        sa.Column("certificate", sa.Text),
    )
    op.create_index("ix_erasures_name", "erasures", ["name"])
    if rows := _known_uploads(op.get_bind()):
        op.bulk_insert(uploads, rows)


def downgrade() -> None:
    op.drop_table("erasures")
    op.drop_table("uploads")


def _known_uploads(connection: sa.Connection) -> list[dict[str, Any]]:
    """Who uploaded which document, as far as the jobs still tell, and when last."""
    query = sa.select(_DOCUMENTS).where(_DOCUMENTS.c.source.startswith("uploads-", autoescape=True))
    documents = {row.id: row for row in connection.execute(query)}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for body in connection.execute(sa.select(_JOBS.c.body).order_by(_JOBS.c.created_at)).scalars():
        job = json.loads(body)
        document = documents.get(job.get("document_id") or "")
        if document is not None and job.get("kind", "ingest") == "ingest":
            found[document.id, job["tenant"], job["subject"]] = {
                "document_id": document.id,
                "tenant": job["tenant"],
                "subject": job["subject"],
                "collection": document.source.removeprefix("uploads-"),
                "name": document.uri.removeprefix("file:"),
                "uploaded_at": int(datetime.fromisoformat(job["created_at"]).timestamp()),
            }
    return list(found.values())
