"""Documents that are held back, and contents that people released."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_quarantine"
down_revision = "0004_subject_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quarantined",
        sa.Column("document_id", sa.String(16), primary_key=True),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("held_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "released",
        sa.Column("document_id", sa.String(16), primary_key=True),
        sa.Column("content_hash", sa.String(64), primary_key=True),
        sa.Column("released_by", sa.String(255), nullable=False),
        sa.Column("released_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("released")
    op.drop_table("quarantined")
