"""What people agreed to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_consents"
down_revision = "0005_quarantine"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("purpose", sa.String(31), primary_key=True),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("given_at", sa.BigInteger, nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger),
    )


def downgrade() -> None:
    op.drop_table("consents")
