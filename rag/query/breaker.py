"""A circuit breaker: after some failures in a row nobody waits for what is broken, until a trial succeeds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row. Then one trial is let through every `rest_seconds`; a success closes it."""

    def __init__(self, failures: int, rest_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest = rest_seconds
        self._now = now
        self._failed = 0
        self._next_trial = 0.0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last `failures` attempts failed."""
        return self._failed >= self._limit

    def admits(self) -> bool:
        """Whether to try. A trial that is never reported is followed by the next one after the rest."""
        with self._lock:
            if not self.is_open:
                return True
            if self._now() < self._next_trial:
                return False
            self._next_trial = self._now() + self._rest
            return True

    def succeeded(self) -> None:
        """It worked."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """It did not."""
        with self._lock:
            self._failed += 1
            self._next_trial = self._now() + self._rest
