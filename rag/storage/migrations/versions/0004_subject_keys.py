"""Keys under which the audit trail hides who asked and what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_subject_keys"
down_revision = "0003_labels"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subject_keys",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("wrapped", sa.String(128), nullable=False),
        sa.Column("pseudonym", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_subject_keys_pseudonym", "subject_keys", ["pseudonym"])


def downgrade() -> None:
    op.drop_table("subject_keys")
