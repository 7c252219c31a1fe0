"""Identical questions at the same time: the first one in this process leads, the others wait for what comes of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """One question being answered. Threads and event loops may wait for it."""

    def __init__(self, flights: Flights[T], name: str) -> None:
        self._flights = flights
        self._name = name
        self._outcome: Future[T | Literal["died", "alone"]] = Future()

    async def outcome(self, seconds: float) -> T | Literal["died", "alone"]:
        """What came of it: an answer for all, `died` (the next must begin anew) or `alone` (each for themselves).

        It is `alone` as well when `seconds` pass.
        """
        waiting = asyncio.wrap_future(self._outcome)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), seconds)
        except TimeoutError:
            return "alone"

    def end(self, outcome: T | Literal["died", "alone"]) -> None:
        """Tell those who wait; the first time counts. Whoever comes later begins another flight."""
        if self._flights.ended(self._name, self):
            self._outcome.set_result(outcome)


class Flights(Generic[T]):
    """The flights of this process by name. Thread-safe."""

    def __init__(self) -> None:
        self._running: dict[str, Flight[T]] = {}
        self._lock = threading.Lock()

    def join(self, name: str) -> tuple[Flight[T], Literal["leads", "follows"]]:
        """The running flight, or a new one, which the caller must end."""
        with self._lock:
            running = self._running.get(name)
            if running is not None:
                return running, "follows"
            self._running[name] = Flight(self, name)
            return self._running[name], "leads"

    def ended(self, name: str, flight: Flight[T]) -> bool:
        """Forget a flight; False when it was forgotten before."""
        with self._lock:
            if self._running.get(name) is not flight:
                return False
            del self._running[name]
            return True
