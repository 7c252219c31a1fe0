"""What was read for earlier questions, kept as long as the corpus is the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Up to `limit` things by chunk id, all of one snapshot; then the half that was read first is forgotten.

    Safe for several threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._things: dict[str, T] = {}
        self._snapshot = -1
        self._lock = threading.Lock()

    def get(
        self, snapshot: int, wanted: Sequence[str], read: Callable[[Sequence[str]], Mapping[str, T]]
    ) -> dict[str, T]:
        """The wanted things that there are. `read` is asked for those that are not remembered."""
        with self._lock:
            if self._snapshot != snapshot:
                self._things, self._snapshot = {}, snapshot
            elif len(self._things) > self._limit:
                self._things = dict(list(self._things.items())[-(self._limit // 2) :])
            things = self._things
        missing = [key for key in wanted if key not in things]
        if missing:
            things.update(read(missing))
        return {key: things[key] for key in wanted if key in things}
