"""Alembic's entry: runs the migrations on the connection that `ui.history.database` hands over."""

from __future__ import annotations

from alembic import context

from ui.history.schema import metadata

given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=metadata,
    version_table=given["version_table"],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
