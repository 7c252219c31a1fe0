"""Answers that somebody judged wrong lately: no process gives them again from what it kept.

They are known by the SHA-256 of their text, which is what the audit trail holds of an answer, and stand in one row of
the registry for as long as a kept answer may live. So a judgement counts in every process within a second, and when
Redis is away too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from rag.storage.database import inserting
from rag.storage.schema import state

logger = logging.getLogger(__name__)

_KEY: Final = "disputed"
_MOST: Final = 500  # 40 kB; when there are more, the oldest ones may be given again
_LOOK_EVERY_SECONDS: Final = 1.0


class Disputes:
    """The disputed answers. Thread-safe."""

    def __init__(self, engine: Engine, seconds: float, now: Callable[[], float] = time.time) -> None:
        """`seconds`: how long a judgement counts."""
        self._engine = engine
        self._seconds = seconds
        self._now = now
        self._looked = float("-inf")
        self._known: frozenset[str] = frozenset()

    def add(self, text_sha256: str) -> None:
        """Give the answer with this text no more from what was kept. Raises `SQLAlchemyError`."""
        with self._engine.begin() as connection:
            found = connection.execute(select(state.c.value).where(state.c.key == _KEY).with_for_update())
            listed = self._living(found.scalar_one_or_none()) | {text_sha256: self._now()}
            newest = dict(sorted(listed.items(), key=lambda each: each[1])[-_MOST:])
            change = inserting(connection, state).values(key=_KEY, value=json.dumps(newest))
            connection.execute(
                change.on_conflict_do_update(index_elements=[state.c.key], set_={"value": change.excluded.value})
            )
        self._looked = float("-inf")

    def hold(self, text: str) -> bool:
        """Whether an answer with this text is among them, as far as was known a second ago. Blocks."""
        if time.monotonic() - self._looked > _LOOK_EVERY_SECONDS:
            try:
                with self._engine.connect() as connection:
                    found = connection.execute(select(state.c.value).where(state.c.key == _KEY)).scalar_one_or_none()
                self._known = frozenset(self._living(found))
            except SQLAlchemyError as error:
                logger.warning("disputed answers cannot be looked up now: %s", error)
            self._looked = time.monotonic()
        return bool(self._known) and hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() in self._known

    def _living(self, stored: str | None) -> dict[str, float]:
        listed: dict[str, float] = json.loads(stored) if stored else {}
        return {name: at for name, at in listed.items() if at > self._now() - self._seconds}
