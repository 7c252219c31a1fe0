"""People with passwords, and sessions whose secrets stay on the server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("passwordHash", sa.Text, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("createdAt", sa.String(32), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("lockedUntil", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("userId", sa.String(36), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("account", sa.String(64), sa.ForeignKey("accounts.name", ondelete="CASCADE")),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("expiresAt", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_sessions_userId", "sessions", ["userId"])
    op.create_index("ix_sessions_account", "sessions", ["account"])


def downgrade() -> None:
    op.drop_table("sessions")
    op.drop_table("accounts")
