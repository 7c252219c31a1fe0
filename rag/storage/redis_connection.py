"""Redis as something that may be missing at any moment: short timeouts, no retries, a breaker, and never an error.

The client's own defaults retry a stalled command for a minute. Whatever goes wrong here, the caller gets in time what
it named as the result for that case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rag.errors import ConfigurationError
from rag.operations.tracing import client_span
from rag.query.breaker import Breaker
from rag.settings.caching import RedisSettings

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class RedisConnection:
    """A pool of connections to one Redis server, opened on first use. Safe to use from any thread and event loop."""

    def __init__(self, settings: RedisSettings) -> None:
        """Raises `ConfigurationError` for an address that is none; a server that is down is no error."""
        seconds = settings.timeout_seconds
        try:
            pool = redis.BlockingConnectionPool.from_url(
                settings.url.get_secret_value(),
                max_connections=settings.max_connections,
                timeout=seconds,
                socket_connect_timeout=seconds,
                socket_timeout=seconds,
                retry=Retry(NoBackoff(), 0),
                protocol=2,  # one round trip less for every new connection
                driver_info=None,  # ... and two less
            )
        except ValueError as error:
            raise ConfigurationError("redis.url must look like redis://host:6379/0 (or rediss://, unix://)") from error
        self._client = redis.Redis(connection_pool=pool)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_rest_seconds)
        self._call_seconds = settings.call_seconds
        # Not the event loop's own threads: there, a lookup would wait behind the search of other questions.
        self._threads = ThreadPoolExecutor(settings.max_connections, thread_name_prefix="redis")

    @property
    def client(self) -> redis.Redis:
        """The client, for a library that brings its own commands. Run those inside `call`, which catches what fails."""
        return self._client

    @property
    def resting(self) -> bool:
        """Whether Redis failed several times in a row, so that most calls do not even try."""
        return self._breaker.is_open

    def call(self, work: Callable[[redis.Redis], Result], otherwise: Result) -> Result:
        """The result of `work(client)`, or `otherwise` when Redis is down, slow, full or talks nonsense. Blocks.

        Each round trip takes `redis.timeout_seconds` at most, so `work` should make one: a command, script or pipeline.
        """
        if not self._breaker.admits():
            return otherwise
        return self._try(work, otherwise)

    async def call_async(self, work: Callable[[redis.Redis], Result], otherwise: Result) -> Result:
        """As `call`, in a thread, and never longer than `redis.call_seconds` altogether."""
        if not self._breaker.admits():
            return otherwise
        work_in_trace = partial(copy_context().run, self._try, work, otherwise)
        running = asyncio.get_running_loop().run_in_executor(self._threads, work_in_trace)
        await asyncio.wait({running}, timeout=self._call_seconds)
        if running.done():
            return running.result()
        self._failed("no answer in time")  # a server that sends a byte now and then never runs into a timeout
        return otherwise

    def later(self, work: Callable[[redis.Redis], object]) -> None:
        """Do `work(client)` in a thread, for what nobody waits for. Returns at once."""
        with suppress(RuntimeError):  # the connection was closed
            self._threads.submit(self.call, work, None)

    def reachable(self) -> bool:
        """Whether Redis answers now, asked whatever the breaker says: a success ends its rest. Blocks."""
        return self._try(lambda client: bool(client.ping()), otherwise=False)

    def close(self) -> None:
        """End all connections and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.connection_pool.disconnect()

    def _try(self, work: Callable[[redis.Redis], Result], otherwise: Result) -> Result:
        try:
            with client_span("redis", {"db.system.name": "redis"}):
                result = work(self._client)
        except (redis.RedisError, OSError) as error:
            self._failed(type(error).__name__)  # its text may hold the address and user
            return otherwise
        except Exception as error:  # noqa: BLE001 - a server that talks nonsense raises what the parser stumbles over
            self._failed(f"not understood ({type(error).__name__})")
            return otherwise
        self._breaker.succeeded()
        return result

    def _failed(self, what: str) -> None:
        rested = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open:
            self._client.connection_pool.disconnect()  # whoever still waits for an answer stops
            if not rested:
                logger.warning("Redis failed several times in a row and is given a rest: %s", what)


def open_redis(settings: RedisSettings) -> RedisConnection | None:
    """The configured Redis, or None where none is configured. Raises `ConfigurationError`."""
    return RedisConnection(settings) if settings.url.get_secret_value() else None
