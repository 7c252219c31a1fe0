"""What was read for earlier questions, kept as long as the corpus is the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from rag.domain import DocumentPage

T = TypeVar("T")

_CHARACTERS: Final = 10_000_000  # of pages; 10 to 40 MB


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


class RememberedPages:
    """Pages as `read(document_id, number)` gives them, while `snapshot()` is the same. Safe for several threads.

    Those used last stay, up to `characters` altogether.
    """

    def __init__(
        self, read: Callable[[str, int], DocumentPage], snapshot: Callable[[], int], characters: int = _CHARACTERS
    ) -> None:
        self._read = read
        self._current = snapshot
        self._most = characters
        self._held = 0
        self._pages: OrderedDict[tuple[str, int], DocumentPage] = OrderedDict()
        self._snapshot = -1
        self._lock = threading.Lock()

    def page(self, document_id: str, number: int) -> DocumentPage:
        """One page. Raises as `read` does."""
        key, snapshot = (document_id, number), self._current()
        with self._lock:
            if snapshot != self._snapshot:
                self._pages.clear()
                self._held, self._snapshot = 0, snapshot
            if (known := self._pages.get(key)) is not None:
                self._pages.move_to_end(key)
                return known
        found = self._read(document_id, number)
        with self._lock:
            if self._snapshot == snapshot and key not in self._pages:
                self._pages[key] = found
                self._held += len(found.text)
                while self._held > self._most:
                    self._held -= len(self._pages.popitem(last=False)[1].text)
        return found
