"""Opening the chat's database: SQLite or PostgreSQL, at the schema version of this software."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
VERSIONS = "ui_alembic_version"  # a table of its own: the database may be shared with the registry's
_UPGRADE_LOCK = 0x63686174  # any constant: what PostgreSQL's advisory lock for migrations is called


class HistoryUnavailable(RuntimeError):
    """The database of conversations cannot be opened; the text is one sentence that says what to do."""


def open_database(url: str) -> Engine:
    """An engine whose database has the current schema. Raises HistoryUnavailable."""
    try:
        engine = create_engine(_with_driver(url), pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _configure_sqlite)
    except (ArgumentError, NoSuchModuleError) as problem:
        raise HistoryUnavailable("BANKSIGHT_UI_DATABASE_URL is no address of SQLite or PostgreSQL.") from problem
    try:
        with engine.begin() as connection:
            _upgrade(connection)
    except SQLAlchemyError as problem:
        engine.dispose()
        shown = make_url(url).render_as_string(hide_password=True)
        raise HistoryUnavailable(
            f"The conversations at {shown} cannot be opened: check that the database runs and may be written."
        ) from problem
    return engine


def _with_driver(url: str) -> str:
    """`postgresql://` means psycopg 3 here; SQLAlchemy would look for psycopg 2."""
    for name in ("postgresql://", "postgres://"):
        if url.startswith(name):
            return "postgresql+psycopg://" + url.removeprefix(name)
    return url


def _configure_sqlite(connection: Any, _: object) -> None:
    """Readers beside one writer, and deleting a conversation deletes what is in it."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "busy_timeout=10000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, once even when several processes start together."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSIONS
    command.upgrade(config, "head")
