"""Answers for the next who asks the same: the latest ones in this process, over Redis, which all processes share.

Redis also says who is answering a question just now, so that identical questions on several nodes cost one answer.
Names and values come sealed (`rag.storage.sealing`); nothing here can read them. Without Redis, everything still works,
in this process alone.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar, cast

import redis

from rag.storage.redis_connection import RedisConnection

T = TypeVar("T")

_VALUE: Final = "banksight:answer:{%s}"  # the braces keep both on one node of a Redis cluster
_FLIGHT: Final = "banksight:flight:{%s}"
_UNSHARED: Final = b"-"  # in the place of a token: it was answered, and everybody needs an answer of their own
_UNSHARED_MILLISECONDS: Final = 2_000
_JITTER: Final = random.SystemRandom()
_KEYS_TOGETHER: Final = 500  # looked at in one call, which must not take longer than a call may

_LOOK: Final = """
local value = redis.call('GET', KEYS[1])
if value then return {value, redis.call('PTTL', KEYS[1])} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, ARGV[1]} end
return {false, redis.call('GET', KEYS[2])}"""
_STORE: Final = """
local token = redis.call('GET', KEYS[2])
if token and token ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1"""
_RENEW: Final = "return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('PEXPIRE', KEYS[2], ARGV[2]) or 0"
_GIVE_UP: Final = "return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('DEL', KEYS[2]) or 0"
_UNSHARE: Final = """
return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) and 1 or 0"""


class Recent(Generic[T]):
    """The `entries` that were used last, each for its time. Thread-safe."""

    def __init__(self, entries: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = entries
        self._now = now
        self._held: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> T | None:
        """What is held under this name and not over its time."""
        with self._lock:
            ends, value = self._held.get(name, (0.0, None))
            if value is None or self._now() >= ends:
                self._held.pop(name, None)
                return None
            self._held.move_to_end(name)
            return value

    def put(self, name: str, value: T, seconds: float) -> None:
        """Hold a value for so long; the one that was not used for longest makes room."""
        with self._lock:
            self._held[name] = (self._now() + seconds, value)
            self._held.move_to_end(name)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def drop(self, name: str) -> None:
        """Hold it no longer."""
        with self._lock:
            self._held.pop(name, None)

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held.clear()


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis says of a name: a `value` for `seconds` more, or who answers the question now.

    `leading`: the caller does, and nobody else. `following`: somebody else does. `alone`: somebody did, and the answer
    is not to be shared. `down`: Redis says nothing.
    """

    state: Literal["value", "leading", "following", "alone", "down"]
    value: bytes = b""
    seconds: float = 0.0


class SharedAnswers:
    """Sealed answers in Redis, and who is making one. No method fails or takes longer than a call to Redis may."""

    def __init__(self, connection: RedisConnection, flight_seconds: float) -> None:
        """`flight_seconds`: so long nobody else answers a question after its answering process was last heard of."""
        self._redis = connection
        self._flight = round(flight_seconds * 1000)

    async def look(self, name: str, token: str) -> Look:
        """The value; or else whether `token` answers the question from now on."""
        found = await self._redis.call_async(_run(_LOOK, name, token, self._flight), None)
        if not isinstance(found, list) or len(found) != 2:
            return Look("down")
        value, said = found
        if isinstance(value, bytes) and isinstance(said, int):
            return Look("value", value, max(0, said) / 1000)
        if said == token.encode():
            return Look("leading")
        return Look("alone" if said == _UNSHARED else "following")

    async def store(self, name: str, token: str, value: bytes, seconds: float) -> None:
        """Share an answer and end its making, unless somebody else has taken over in the meantime."""
        await self._redis.call_async(_run(_STORE, name, token, value, round(seconds * 1000)), None)

    async def renew(self, name: str, token: str) -> None:
        """`token` is still at it."""
        await self._redis.call_async(_run(_RENEW, name, token, self._flight), None)

    async def drop(self, name: str) -> None:
        """Delete a value."""
        await self._redis.call_async(lambda client: client.delete(_VALUE % name), None)

    def clear(self) -> int | None:
        """Delete all values, of all processes. Returns how many; None where Redis did not do it all. Blocks."""
        cursor, count = 0, 0
        while True:
            found = self._redis.call(partial(_delete_some, cursor), None)
            if found is None:
                return None
            cursor, gone = found
            count += gone
            if not cursor:
                return count

    def give_up(self, name: str, token: str) -> None:
        """`token` will not finish; the next may begin. Returns at once."""
        self._redis.later(_run(_GIVE_UP, name, token))

    def unshare(self, name: str, token: str) -> None:
        """`token` has an answer that is not to be shared: those who wait must ask for themselves. Returns at once."""
        self._redis.later(_run(_UNSHARE, name, token, _UNSHARED, _UNSHARED_MILLISECONDS))


def spread(seconds: float, share: float) -> float:
    """`seconds`, up to `share` more or less, so that what was stored together does not end together."""
    return seconds * (1 + _JITTER.uniform(-share, share))


def _delete_some(cursor: int, client: redis.Redis) -> tuple[int, int]:
    """Where to go on, 0 at the end, and how many values went."""
    following, names = cast(Any, client.scan(cursor, match=_VALUE % "*", count=_KEYS_TOGETHER))
    gone = cast(Any, client.unlink(*names)) if names else 0
    return int(following), int(gone)


def _run(script: str, name: str, *arguments: str | bytes | float) -> Callable[[redis.Redis], Any]:
    return lambda client: client.eval(script, 2, _VALUE % name, _FLIGHT % name, *arguments)
