"""Until when the current request must be done: set where it comes in, and asked wherever work begins or waits.

It travels with the context, into tasks and threads. Where none is set, as in ingestion and on the command line, there
is no limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ends: Final[ContextVar[float | None]] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The work inside has `seconds`, or what is left of an earlier limit if that is less."""
    before = _ends.get()
    ends = time.monotonic() + seconds
    token = _ends.set(ends if before is None else min(before, ends))
    try:
        yield
    finally:
        _ends.reset(token)


def remaining(otherwise: float) -> float:
    """Seconds left, `otherwise` at most. Zero or less: it is over."""
    ends = _ends.get()
    return otherwise if ends is None else min(otherwise, ends - time.monotonic())


def check() -> None:
    """Raise `TimeoutError` when it is over: what nobody will read is not begun."""
    if remaining(1.0) <= 0:
        raise TimeoutError("the deadline passed before this was begun")
