"""One process writes, over all machines that share a registry: a row that its holder renews, and checks when it writes.

No clock is compared: whoever wants the lease watches the row, and takes it when nobody has renewed it for `_DEAD_AFTER`
of their own seconds. A holder that was only frozen finds at its next write that it is not the holder any more, in the
transaction of that write, so nothing of it counts.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from rag.errors import Busy, StorageUnavailable
from rag.storage.schema import state

logger = logging.getLogger(__name__)

WRITER: Final = "writer"  # key of the state table
_BEAT_SECONDS: Final = 2.0
_DEAD_AFTER_SECONDS: Final = 10.0  # five beats: a garbage collection or a slow disk must not depose anybody
_DEPOSED: Final = "another process has taken over writing, because this one was silent; start it again"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class WriterLease:
    """The right to write. Taken when made, until `release` or the end of the process."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Take it; `folder` is the data folder that this process owns. Raises `Busy` while another process writes.

        Waits up to ten seconds to learn whether a holder elsewhere is alive; one with the same folder is dead.
        """
        self._engine = engine
        self._owner = uuid.uuid4().hex
        self._place = _place(folder)
        self._beat = 0
        self._ending = threading.Event()
        self._lost = threading.Event()
        self._take()
        self._thread = threading.Thread(target=self._renew, name="writer-lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether another process has taken over."""
        return self._lost.is_set()

    def require(self, connection: Connection) -> None:
        """Raise `StorageUnavailable` unless this process holds the lease, until the transaction ends."""
        row = connection.execute(select(state.c.value).where(state.c.key == WRITER).with_for_update())
        if _read(row.scalar_one_or_none()).get("owner") != self._owner:
            self._lost.set()
            raise StorageUnavailable(
                "another process has taken over writing, because this one was silent; start it again"
            )

    def release(self) -> None:
        """Let the next one write."""
        self._ending.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(state).where(state.c.key == WRITER, state.c.value == self._value()))
        except SQLAlchemyError as error:
            logger.warning("the lease could not be given back; it runs out in ten seconds: %s", error)

    def _take(self) -> None:
        seen, since = self._stored(), time.monotonic()
        while seen is not None and _read(seen).get("place") != self._place:
            if time.monotonic() - since > _DEAD_AFTER_SECONDS:
                logger.warning("taking over from a process that has been silent for ten seconds")
                break
            time.sleep(_BEAT_SECONDS / 4)
            stored = self._stored()
            if stored is not None and stored != seen:
                raise _taken()
            seen = stored
        if not self._swap(seen, self._value()):
            raise _taken()

    def _renew(self) -> None:
        while not self._ending.wait(_BEAT_SECONDS):
            before = self._value()
            self._beat += 1
            try:
                if not self._swap(before, self._value()):
                    logger.error(_DEPOSED)
                    self._lost.set()
                    return
            except SQLAlchemyError as error:
                self._beat -= 1  # the next one tries again
                logger.warning("the lease could not be renewed: %s", error)

    def _stored(self) -> str | None:
        with self._engine.connect() as connection:
            return connection.execute(select(state.c.value).where(state.c.key == WRITER)).scalar_one_or_none()

    def _swap(self, before: str | None, after: str) -> bool:
        try:
            with self._engine.begin() as connection:
                if before is None:
                    connection.execute(insert(state).values(key=WRITER, value=after))
                    return True
                change = update(state).where(state.c.key == WRITER, state.c.value == before)
                return bool(connection.execute(change.values(value=after)).rowcount)
        except IntegrityError:
            return False

    def _value(self) -> str:
        return json.dumps({"owner": self._owner, "place": self._place, "beat": self._beat})


def _read(value: str | None) -> dict[str, Any]:
    return dict(json.loads(value)) if value else {}


def _place(folder: Path) -> str:
    """This folder on this machine since it started: whoever has the folder's lock knows that nobody else has it."""
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else str(uuid.getnode())
    found = folder.stat()
    return f"{boot}:{found.st_dev}:{found.st_ino}"


def _taken() -> Busy:
    return Busy("another process writes to this index now; wait until it has ended, or stop it", retry_after=3)
