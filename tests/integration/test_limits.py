"""Rates that several processes share through Redis, and what is left of them when Redis dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rag.domain import Principal
from rag.operations.limits import RateLimiter
from rag.settings import Settings
from rag.storage.redis_connection import RedisConnection

ANNA = Principal("anna.surname@bank.example", "bank")


@pytest.fixture
def open_limiter(redis_server: Any, make_settings: Callable[..., Settings]) -> Iterator[Callable[..., RateLimiter]]:
    """`open_limiter(user={…})`: one as a process of its own would have it, over this test's Redis."""
    opened: list[RedisConnection] = []

    def make(patience: float = 20.0, **limits: Any) -> RateLimiter:
        redis = {"url": redis_server.url, "timeout_seconds": patience, "call_seconds": patience}
        settings = make_settings(redis=redis, limits=limits)
        opened.append(RedisConnection(settings.redis))
        connection = opened[-1]
        return RateLimiter(lambda: settings.limits, lambda: connection)

    yield make
    for connection in opened:
        connection.close()


async def _admitted(limiter: RateLimiter, times: int) -> int:
    standings = [await limiter.take(limiter.limits(ANNA)) for _ in range(times)]
    return sum(1 for each in standings if each[-1].verdict == "admitted")


async def test_of_forty_requests_to_two_processes_exactly_twenty_are_admitted(
    open_limiter: Callable[..., RateLimiter],
) -> None:
    processes = [open_limiter(user={"requests_per_minute": 20}) for _ in range(2)]
    counts = await asyncio.gather(*(_admitted(each, 20) for each in processes))
    assert sum(counts) == 20
    last = (await processes[0].take(processes[0].limits(ANNA)))[-1]
    assert (last.verdict, last.remaining) == ("refused", 0)
    assert 0 <= last.reset_seconds <= 60


async def test_tokens_are_charged_for_all_processes_and_a_new_quota_keeps_what_was_used(
    open_limiter: Callable[..., RateLimiter],
) -> None:
    one, other = (open_limiter(user={"tokens_per_day": 1000}) for _ in range(2))
    await one.spend(one.limits(ANNA), 1200)
    refused = (await other.take(other.limits(ANNA)))[-1]
    assert (refused.verdict, refused.remaining) == ("refused", 0)
    assert 0 < refused.reset_seconds <= 86_400
    raised = open_limiter(user={"tokens_per_day": 1500})
    assert (await raised.take(raised.limits(ANNA)))[-1].remaining == 300


@pytest.mark.proves("GDPR 5(1)(c)")
async def test_redis_learns_no_names(open_limiter: Callable[..., RateLimiter], redis_server: Any) -> None:
    limiter = open_limiter(user={"requests_per_minute": 5, "tokens_per_day": 5}, key={"requests_per_minute": 5})
    limits = limiter.limits(ANNA, "Bearer secret")
    await limiter.take(limits)
    await limiter.spend(limits, 1)
    with redis_server.client() as client:
        keys = b" ".join(client.keys("*"))
    assert b"banksight:limits" in keys
    assert not any(each in keys for each in (b"anna", b"secret", b"surname"))


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_while_redis_is_down_each_process_admits_a_share_and_never_everything(
    fault: signal.Signals, open_limiter: Callable[..., RateLimiter], redis_server: Any
) -> None:
    limiter = open_limiter(patience=0.05, user={"requests_per_minute": 50, "tokens_per_day": 100}, without_redis=0.2)
    redis_server.process.send_signal(fault)
    try:
        assert await _admitted(limiter, 60) == 10
        await limiter.spend(limiter.limits(ANNA), 30)
        limits = [each for each in limiter.limits(ANNA) if each.unit == "tokens"]
        assert (await limiter.take(limits))[-1].verdict == "refused"
    finally:
        if fault is signal.SIGSTOP:
            redis_server.process.send_signal(signal.SIGCONT)
