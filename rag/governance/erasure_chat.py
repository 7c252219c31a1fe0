"""The conversations of a person in the chat's own database, which `ui/history/schema.py` describes.

The chat imports nothing of ours and we nothing of it: what both know is the table `users` with `id` and `identifier`
(`tenant/subject`, or the subject alone where nobody signs in), with whose row everything else goes, and the table
`accounts` of those who sign in with a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, delete, event, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from rag.errors import StorageUnavailable
from rag.storage.database import with_driver
from rag.storage.vacuuming import vacuum

UNKNOWN: Final = "the chat's database is not known here: set privacy.conversations_url and ask for the erasure again"
_METADATA: Final = MetaData()
_USERS: Final = Table("users", _METADATA, Column("id", String(36)), Column("identifier", String(255)))
_ACCOUNTS: Final = Table("accounts", _METADATA, Column("name", String(64)))
_SESSIONS: Final = Table("sessions", _METADATA, Column("userId", String(36)), Column("account", String(64)))
_THREADS: Final = Table("threads", _METADATA, Column("id", String(64)), Column("userId", String(36)))


def conversations_url(configured: str, data_dir: Path) -> str:
    """Where the conversations are: as configured, else where the chat of this data folder keeps them; may be empty."""
    usual = data_dir / "ui" / "conversations.db"
    return configured or (f"sqlite:///{usual}" if usual.is_file() else "")


def erase_conversations(url: str, identifiers: Sequence[str], subject: str) -> dict[str, Any]:
    """Delete these people with all that is theirs, and the account of this name. Returns how many conversations went.

    Raises `StorageUnavailable` where the database does not answer, or is none of the chat's.
    """
    engine = create_engine(with_driver(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
    try:
        return _erase(engine, identifiers, subject)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageUnavailable(
            f"the chat's conversations cannot be deleted ({reason}); look at privacy.conversations_url, then try again"
        ) from error
    finally:
        engine.dispose()


def _erase(engine: Engine, identifiers: Sequence[str], subject: str) -> dict[str, Any]:
    tables = set(inspect(engine).get_table_names())
    if "users" not in tables:
        return {"conversations": 0}
    with engine.begin() as connection:
        mine = select(_USERS.c.id).where(_USERS.c.identifier.in_(identifiers))
        count = connection.execute(select(func.count()).where(_THREADS.c.userId.in_(mine))).scalar_one()
        if {"accounts", "sessions"} <= tables:
            names = connection.execute(select(_SESSIONS.c.account).where(_SESSIONS.c.userId.in_(mine))).scalars()
            connection.execute(delete(_ACCOUNTS).where(_ACCOUNTS.c.name.in_({subject, *filter(None, names)})))
        connection.execute(delete(_USERS).where(_USERS.c.identifier.in_(identifiers)))
    vacuum(engine)
    return {"conversations": int(count)}


def _configure(connection: Any, _: object) -> None:
    """Deleting a person deletes their conversations, and waits for the chat that writes."""
    for pragma in ("foreign_keys=ON", "secure_delete=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
