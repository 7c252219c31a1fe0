"""The whole registry in one SQLite file, whatever database it lives in, and back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, insert, select, true

from rag.storage.database import open_database
from rag.storage.lease import WRITER
from rag.storage.schema import metadata, state

_ROWS = 500  # carried at a time; pages are the largest, about 3 KB each


def copy_to_file(engine: Engine, path: Path) -> None:
    """Write every table, as of one moment, into a new SQLite file without side files."""
    if engine.dialect.name == "sqlite":
        copy_sqlite(Path(str(engine.url.database)), path)
        return
    target = open_database(f"sqlite:///{path}")
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as source, target.begin() as sink:
            _carry(source, sink)
    finally:
        target.dispose()
    _without_side_files(path)


def copy_from_file(path: Path, engine: Engine) -> None:
    """Replace what a database of the current schema holds by what the file holds, in one transaction.

    Who has the right to write stays.
    """
    source = open_database(f"sqlite:///{path}")
    try:
        with source.connect() as rows, engine.begin() as sink:
            _carry(rows, sink)
    finally:
        source.dispose()


def copy_sqlite(source: Path, target: Path) -> None:
    """SQLite's online backup: a copy of one moment, whoever writes meanwhile. Makes one file without side files."""
    address = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    _without_side_files(target)


def _carry(source: Connection, sink: Connection) -> None:
    rest = {state: state.c.key != WRITER}
    for table in reversed(metadata.sorted_tables):
        sink.execute(table.delete().where(rest.get(table, true())))
    for table in metadata.sorted_tables:
        found = source.execution_options(yield_per=_ROWS).execute(select(table).where(rest.get(table, true())))
        for rows in found.mappings().partitions(_ROWS):
            sink.execute(insert(table), [dict(row) for row in rows])


def _without_side_files(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
