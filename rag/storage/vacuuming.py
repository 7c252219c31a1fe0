"""Writing a database anew, so that nothing that was deleted is left in its files."""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from rag.errors import StorageUnavailable

_PATIENCE_SECONDS: Final = 30.0  # for readers that keep the log of SQLite from being emptied


def vacuum(engine: Engine) -> None:
    """Write all tables anew. SQLite's log is emptied; PostgreSQL recycles its own by its own settings.

    Whoever writes waits. Raises `StorageUnavailable` when others do not let go of the database. Blocks.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("VACUUM"))
            _empty_the_log(connection)
            return
        names = inspect(connection).get_table_names()
        connection.execute(text("VACUUM (FULL) " + ", ".join(f'"{name}"' for name in names)))


def _empty_the_log(connection: Connection) -> None:
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
        if not busy:
            return
        if time.monotonic() > ends:
            raise StorageUnavailable("others read the database all the time, so its log cannot be emptied; try again")
        time.sleep(0.2)
