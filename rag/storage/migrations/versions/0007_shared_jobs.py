"""Jobs that one process asks for and another does."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0007_shared_jobs"
down_revision = "0006_consents"
branch_labels = None
depends_on = None

_JOBS = sa.table("jobs", sa.column("id", sa.String), sa.column("body", sa.Text), sa.column("state", sa.String))


def upgrade() -> None:
    op.add_column("jobs", sa.Column("state", sa.String(16), nullable=False, server_default="queued"))
    op.add_column("jobs", sa.Column("stop", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_jobs_state", "jobs", ["state"])
    connection = op.get_bind()
    for row in connection.execute(sa.select(_JOBS.c.id, _JOBS.c.body)).all():
        state = str(json.loads(row.body).get("state", "failed"))
        connection.execute(sa.update(_JOBS).where(_JOBS.c.id == row.id).values(state=state))


def downgrade() -> None:
    op.drop_index("ix_jobs_state", "jobs")
    op.drop_column("jobs", "stop")
    op.drop_column("jobs", "state")
