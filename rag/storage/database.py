"""Opening the registry's database: SQLite or PostgreSQL, at the schema version of this software."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from rag.errors import ConfigurationError, StorageUnavailable

logger = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x62616E6B  # any constant: what PostgreSQL's advisory lock for migrations is called


def open_database(url: str, schema: Literal["upgrade", "require"] = "upgrade") -> Engine:
    """An engine whose database has the current schema; `require` changes nothing and waits for who does.

    Raises `StorageUnavailable` when nothing answers, or the schema is another than is required, and
    `ConfigurationError` when a newer version made the database.
    """
    try:
        # A server may have closed a connection that rested; a file does not.
        engine = create_engine(with_driver(url), pool_pre_ping=not url.startswith("sqlite"))
    except SQLAlchemyError as error:
        raise ConfigurationError(f"the database address cannot be used: {error}; check storage.database_url") from error
    try:
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _configure_sqlite)
        if engine.dialect.name == "postgresql":
            event.listen(engine, "connect", _configure_postgresql)
        with engine.begin() as connection:
            if schema == "upgrade":
                _upgrade(connection)
            else:
                _require(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unavailable(url, error) from error
    except (ConfigurationError, StorageUnavailable):
        engine.dispose()
        raise
    return engine


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database as it is. `revision` is None where nothing was ever made; `server` is the version of its software.

    `creatable`: whether this user could make tables there.
    """

    revision: str | None
    server: str
    creatable: bool


def look_at_database(url: str, seconds: float) -> DatabaseState:
    """The state of a database that is reached within so many seconds; nothing is made or changed.

    Raises `ConfigurationError` for an address that is none, and `StorageUnavailable` when nothing answers.
    """
    try:
        address = make_url(with_driver(url))
    except SQLAlchemyError as error:
        raise ConfigurationError("the database address cannot be read; correct DATABASE_URL") from error
    if address.get_backend_name() == "sqlite":
        version = ".".join(str(part) for part in sqlite3.sqlite_version_info)
        if not Path(address.database or "").is_file():
            return DatabaseState(None, version, creatable=True)
        address = address.set(database=f"file:{address.database}", query={"mode": "ro", "uri": "true"})
        engine = create_engine(address)
    else:
        engine = create_engine(address, connect_args={"connect_timeout": max(2, math.ceil(seconds))})
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
            if engine.dialect.name == "sqlite":
                return DatabaseState(revision, version, creatable=True)
            server = str(connection.execute(text("SHOW server_version")).scalar_one())
            allowed = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar_one()
            return DatabaseState(revision, server, bool(allowed))
    except SQLAlchemyError as error:
        raise _unavailable(url, error) from error
    finally:
        engine.dispose()


def schema_revisions() -> tuple[str, frozenset[str]]:
    """The schema version of this software, and every one that it can upgrade from."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())


def _unavailable(url: str, error: SQLAlchemyError) -> StorageUnavailable:
    shown = make_url(url).render_as_string(hide_password=True)
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return StorageUnavailable(
        f"the registry at {shown} cannot be opened: {reason}; check that the database runs and may be written"
    )


def with_driver(url: str) -> str:
    """`postgresql://` means psycopg 3 here; SQLAlchemy would look for psycopg 2."""
    for name in ("postgresql://", "postgres://"):
        if url.startswith(name):
            return "postgresql+psycopg://" + url.removeprefix(name)
    return url


def _configure_sqlite(connection: Any, _: object) -> None:
    """Readers beside one writer, and nothing lost when the power goes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _configure_postgresql(connection: Any, _: object) -> None:
    """A machine that vanishes in a transaction holds its locks for a minute, and not until TCP gives up after hours."""
    connection.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.commit()


def _require(connection: Connection) -> None:
    """Raise `StorageUnavailable` unless the schema is ours: whoever only reads waits for the one that writes."""
    wanted = ScriptDirectory.from_config(_alembic(connection)).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current != wanted:
        raise StorageUnavailable(
            f"the registry has schema version {current or 'none'}, and this version of BankSight reads {wanted}; "
            "start `banksight worker` of this version, which brings the registry there, or start the other version"
        )


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, once even when several processes start together."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    config = _alembic(connection)
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the registry has schema version {current}, which this version of BankSight does not know; "
            "start the version that wrote it, or restore a backup made by this one"
        )
    if current != scripts.get_current_head():
        command.upgrade(config, "head")
        logger.info("registry schema upgraded from %s to %s", current, scripts.get_current_head())


def inserting(connection: Connection, table: Table) -> Any:
    """An insert that can say what happens to a row that is there already."""
    dialect = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
    return cast("Callable[[Table], Any]", dialect)(table)
