"""How much one person, key or tenant may ask for: requests a minute, tokens a day.

Counted in Redis, so that all processes count together, with the `limits` library: requests in sliding windows, so that
nobody gets twice the rate around the turn of a minute, tokens in a window of a day from the first one on. Redis keeps
its own time. Where Redis is down, each process counts for itself, on a clock that nobody can set, and admits a share.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal

import redis
from limits import RateLimitItemPerDay, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from rag.domain import Principal
from rag.settings.limits import LimitSettings
from rag.storage.redis_connection import RedisConnection

_MINUTE: Final = 60
_DAY: Final = 86_400
_MOST_REMEMBERED: Final = 10_000  # windows in this process
_OF_A_DAY: Final = RateLimitItemPerDay(1)  # names the window; how many is compared here, so that it may change

Unit = Literal["requests", "tokens"]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` of a unit in `seconds`, for whom `key` stands (a digest: Redis learns no names)."""

    unit: Unit
    key: str
    amount: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands with a limit after a request: how much is left, and in how many seconds there is more."""

    limit: Limit
    verdict: Literal["admitted", "refused"]
    remaining: int
    reset_seconds: float


@dataclass(slots=True)
class Tally:
    """The tokens that a request has taken so far."""

    tokens: int = 0


_tally: Final[ContextVar[Tally | None]] = ContextVar("tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Tokens that are noted inside, also in tasks and threads that begin there, are in what this gives."""
    found = Tally()
    token = _tally.set(found)
    try:
        yield found
    finally:
        _tally.reset(token)


def note_tokens(number: int) -> None:
    """Add to the tally of the current request, if there is one."""
    if (found := _tally.get()) is not None:
        found.tokens += number


def note_at_least(number: int) -> None:
    """Make the tally of the current request at least so much: what was begun for one who left was used all the same."""
    if (found := _tally.get()) is not None:
        found.tokens = max(found.tokens, number)


class RateLimiter:
    """Counts in Redis, or, while that is down, in this process. `settings` and `connection` may change at any time."""

    def __init__(
        self,
        settings: Callable[[], LimitSettings],
        connection: Callable[[], RedisConnection | None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._local = LocalWindows(now)

    def limits(self, principal: Principal, key: str = "") -> tuple[Limit, ...]:
        """What this caller is held to; `key` is what it signed in with, empty where that is nothing of its own."""
        settings = self._settings()
        names = (
            (settings.user, f"user\0{principal.tenant}\0{principal.subject}"),
            (settings.key, f"key\0{key}" if key else ""),
            (settings.tenant, f"tenant\0{principal.tenant}"),
        )
        found: list[Limit] = []
        for rates, name in names:
            if name and rates.requests_per_minute:
                found.append(Limit("requests", _digest(name), rates.requests_per_minute, _MINUTE))
            if name and rates.tokens_per_day:
                found.append(Limit("tokens", _digest(name), rates.tokens_per_day, _DAY))
        return tuple(found)

    async def take(self, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """Count one request. The last standing is `refused` where a limit is used up; nothing counts after it."""
        if not limits:
            return ()
        connection = self._connection()
        if connection is None:
            return self._local.take(limits)
        nothing: tuple[Standing, ...] = ()
        shared = await connection.call_async(lambda client: _take(client, limits), nothing)
        return shared or self._local.take([self._shared_out(each) for each in limits])

    async def spend(self, limits: Sequence[Limit], tokens: int) -> None:
        """Charge tokens that were used, whether or not there were so many left."""
        charged = [each for each in limits if each.unit == "tokens"]
        if not charged or tokens <= 0:
            return
        connection = self._connection()
        if connection is None or not await connection.call_async(lambda client: _spend(client, charged, tokens), 0):
            self._local.spend(charged, tokens)

    def _shared_out(self, limit: Limit) -> Limit:
        return replace(limit, amount=max(1, math.floor(limit.amount * self._settings().without_redis)))


@dataclass(slots=True)
class LocalWindows:
    """Sliding windows in this process: the count of this window, and what still counts of the one before."""

    now: Callable[[], float]
    _counts: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)  # window, its count, before

    def take(self, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """As `RateLimiter.take`."""
        found: list[Standing] = []
        for limit in limits:
            used = math.ceil(self._used(limit))
            refused = used >= limit.amount
            cost = 1 if limit.unit == "requests" and not refused else 0
            self._add(limit, cost)
            reset = limit.seconds - self.now() % limit.seconds
            left = max(0, limit.amount - used - cost)
            found.append(Standing(limit, "refused" if refused else "admitted", left, reset))
            if refused:
                break
        return tuple(found)

    def spend(self, limits: Sequence[Limit], tokens: int) -> None:
        """As `RateLimiter.spend`."""
        for limit in limits:
            self._add(limit, tokens)

    def _used(self, limit: Limit) -> float:
        _, count, before = self._window(limit)
        return count + before * (1 - self.now() % limit.seconds / limit.seconds)

    def _window(self, limit: Limit) -> tuple[int, int, int]:
        """The number of the window that is now, its count and that of the one before."""
        current = int(self.now() // limit.seconds)
        number, count, before = self._counts.get((limit.unit, limit.key), (current, 0, 0))
        if number == current:
            return current, count, before
        return current, 0, count if number == current - 1 else 0

    def _add(self, limit: Limit, cost: int) -> None:
        number, count, before = self._window(limit)
        self._counts.pop((limit.unit, limit.key), None)  # to the end: the least recently used one comes first
        self._counts[limit.unit, limit.key] = (number, count + cost, before)
        if len(self._counts) > _MOST_REMEMBERED:
            del self._counts[next(iter(self._counts))]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


@lru_cache(maxsize=4)
def _strategies(client: redis.Redis) -> tuple[SlidingWindowCounterRateLimiter, FixedWindowRateLimiter]:
    storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix="banksight:limits")
    return SlidingWindowCounterRateLimiter(storage), FixedWindowRateLimiter(storage)


def _take(client: redis.Redis, limits: Sequence[Limit]) -> tuple[Standing, ...]:
    found: list[Standing] = []
    for limit in limits:
        found.append(_take_request(client, limit) if limit.unit == "requests" else _look_at_tokens(client, limit))
        if found[-1].verdict == "refused":
            break
    return tuple(found)


def _take_request(client: redis.Redis, limit: Limit) -> Standing:
    sliding, _ = _strategies(client)
    item = RateLimitItemPerSecond(limit.amount, limit.seconds)
    admitted = sliding.hit(item, limit.unit, limit.key)
    stats = sliding.get_window_stats(item, limit.unit, limit.key)
    return Standing(limit, "admitted" if admitted else "refused", stats.remaining, _until(stats.reset_time, limit))


def _look_at_tokens(client: redis.Redis, limit: Limit) -> Standing:
    _, fixed = _strategies(client)
    stats = fixed.get_window_stats(_OF_A_DAY, limit.unit, limit.key)
    used = fixed.storage.get(_OF_A_DAY.key_for(limit.unit, limit.key))
    left = max(0, limit.amount - int(used))
    return Standing(limit, "admitted" if left else "refused", left, _until(stats.reset_time, limit))


def _until(reset_time: float, limit: Limit) -> float:
    """Seconds: the library adds the time of this machine, which is taken away again."""
    return min(max(0.0, reset_time - time.time()), limit.seconds)


def _spend(client: redis.Redis, limits: Sequence[Limit], tokens: int) -> int:
    """How many quotas were charged."""
    _, fixed = _strategies(client)
    for limit in limits:
        fixed.hit(_OF_A_DAY, limit.unit, limit.key, cost=tokens)
    return len(limits)
