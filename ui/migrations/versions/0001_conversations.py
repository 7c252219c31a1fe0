"""Conversations as they first shipped."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("identifier", sa.String(255), nullable=False, unique=True),
        sa.Column("createdAt", sa.String(32), nullable=False),
    )
    op.create_table(
        "threads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("userId", sa.String(36), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("createdAt", sa.String(32), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("tags", sa.JSON),
        sa.Column("metadata", sa.JSON),
    )
    op.create_index("ix_threads_of_user", "threads", ["userId", "createdAt"])
    op.create_table("steps", *_steps())
    op.create_index("ix_steps_threadId", "steps", ["threadId"])
    op.create_index("ix_steps_parentId", "steps", ["parentId"])
    op.create_table("elements", *_elements())
    op.create_index("ix_elements_threadId", "elements", ["threadId"])
    op.create_table(
        "feedbacks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("forId", sa.String(64), sa.ForeignKey("steps.id", ondelete="CASCADE"), nullable=False, unique=True),
        sa.Column("value", sa.Integer, nullable=False),
        sa.Column("comment", sa.Text),
    )
    op.create_table(
        "signed_out",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("expiresAt", sa.BigInteger, nullable=False),
    )


def _steps() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("threadId", sa.String(64), sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("parentId", sa.String(64)),
        sa.Column("name", sa.Text),
        sa.Column("type", sa.String(32)),
        sa.Column("command", sa.Text),
        sa.Column("modes", sa.JSON),
        sa.Column("streaming", sa.Boolean),
        sa.Column("waitForAnswer", sa.Boolean),
        sa.Column("isError", sa.Boolean),
        sa.Column("metadata", sa.JSON),
        sa.Column("tags", sa.JSON),
        sa.Column("input", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("createdAt", sa.String(32)),
        sa.Column("start", sa.String(32)),
        sa.Column("end", sa.String(32)),
        sa.Column("generation", sa.JSON),
        sa.Column("showInput", sa.JSON),
        sa.Column("defaultOpen", sa.Boolean),
        sa.Column("autoCollapse", sa.Boolean),
        sa.Column("language", sa.Text),
        sa.Column("icon", sa.Text),
    ]


def _elements() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("threadId", sa.String(64), sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("forId", sa.String(64)),
        sa.Column("type", sa.String(32)),
        sa.Column("chainlitKey", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("objectKey", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("display", sa.String(16)),
        sa.Column("size", sa.String(16)),
        sa.Column("language", sa.Text),
        sa.Column("page", sa.Integer),
        sa.Column("props", sa.JSON),
        sa.Column("autoPlay", sa.Boolean),
        sa.Column("playerConfig", sa.JSON),
        sa.Column("mime", sa.Text),
    ]


def downgrade() -> None:
    for table in ("signed_out", "feedbacks", "elements", "steps", "threads", "users"):
        op.drop_table(table)
