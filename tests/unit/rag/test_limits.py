"""Rates and quotas in one process: how they count, and what clocks and crowds do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rag.domain import Principal
from rag.operations.limits import Limit, LocalWindows, RateLimiter, note_at_least, note_tokens, tallied
from rag.settings import Settings

ANNA, BEN, STRANGER = Principal("anna", "bank"), Principal("ben", "bank"), Principal("anna", "other bank")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def limiter(make_settings: Callable[..., Settings]) -> Callable[..., Any]:
    """`limiter(user={"requests_per_minute": 3})`: one that counts in this process, with a clock."""

    def make(**limits: Any) -> tuple[RateLimiter, Clock]:
        clock = Clock()
        chosen = make_settings(limits=limits).limits
        return RateLimiter(lambda: chosen, lambda: None, clock), clock

    return make


async def _take(limiter: RateLimiter, principal: Principal, key: str = "") -> str:
    standings = await limiter.take(limiter.limits(principal, key))
    return standings[-1].verdict if standings else "unlimited"


async def test_without_limits_nothing_is_counted(limiter: Callable[..., Any]) -> None:
    made, _ = limiter()
    assert made.limits(ANNA, "key") == ()
    assert await _take(made, ANNA) == "unlimited"


@pytest.mark.proves("LLM10")
async def test_each_person_has_a_rate_of_their_own_and_a_tenant_one_for_all(limiter: Callable[..., Any]) -> None:
    made, _ = limiter(user={"requests_per_minute": 3}, tenant={"requests_per_minute": 5})
    assert [await _take(made, ANNA) for _ in range(4)] == ["admitted"] * 3 + ["refused"]
    assert [await _take(made, BEN) for _ in range(3)] == ["admitted"] * 2 + ["refused"]
    assert await _take(made, STRANGER) == "admitted"


async def test_a_key_has_one_rate_whoever_uses_it(limiter: Callable[..., Any]) -> None:
    made, _ = limiter(key={"requests_per_minute": 2})
    assert [await _take(made, who, "k1") for who in (ANNA, BEN, ANNA)] == ["admitted", "admitted", "refused"]
    assert await _take(made, ANNA, "k2") == "admitted"


async def test_the_turn_of_a_minute_gives_no_second_rate(limiter: Callable[..., Any]) -> None:
    made, clock = limiter(user={"requests_per_minute": 10})
    clock.now = 60 * 1000 + 59.0
    assert [await _take(made, ANNA) for _ in range(10)] == ["admitted"] * 10
    clock.now += 2
    assert await _take(made, ANNA) == "refused"
    clock.now += 30
    assert [await _take(made, ANNA) for _ in range(10)].count("admitted") == 5
    clock.now += 120
    assert await _take(made, ANNA) == "admitted"


@pytest.mark.proves("LLM10", "AISVS 12.2.5")
async def test_a_day_of_tokens_is_used_up_by_what_was_spent_and_not_by_asking(limiter: Callable[..., Any]) -> None:
    made, clock = limiter(user={"tokens_per_day": 1000})
    clock.now = 86_400 * 10.0
    assert [await _take(made, ANNA) for _ in range(50)] == ["admitted"] * 50
    await made.spend(made.limits(ANNA), 900)
    assert await _take(made, ANNA) == "admitted"
    await made.spend(made.limits(ANNA), 900)
    assert (await _take(made, ANNA), await _take(made, BEN)) == ("refused", "admitted")
    clock.now += 2 * 86_400
    assert await _take(made, ANNA) == "admitted"


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
async def test_a_clock_that_jumps_neither_locks_out_for_long_nor_lets_everything_in(
    jump: float, limiter: Callable[..., Any]
) -> None:
    """It is a clock that nobody can set; should it jump all the same, then one window is lost at most."""
    made, clock = limiter(user={"requests_per_minute": 5})
    assert [await _take(made, ANNA) for _ in range(6)].count("admitted") == 5
    clock.now += jump
    assert 1 <= [await _take(made, ANNA) for _ in range(100)].count("admitted") <= 5


def test_a_flood_of_names_does_not_grow_without_bound() -> None:
    windows = LocalWindows(Clock())
    busy = Limit("requests", "busy", 3, 60)
    for number in range(25_000):
        windows.take([Limit("requests", str(number), 10, 60)])
        if number % 5_000 == 0:
            windows.take([busy])
    assert len(windows._counts) == 10_000
    assert windows.take([busy])[-1].verdict == "refused"


async def test_tokens_are_tallied_from_tasks_and_threads_of_the_request_alone() -> None:
    with tallied() as outer:
        await asyncio.gather(asyncio.to_thread(note_tokens, 5), asyncio.create_task(_note(7)))
        note_at_least(3)
        assert outer.tokens == 12
        note_at_least(20)
    note_tokens(100)
    assert outer.tokens == 20


async def _note(number: int) -> None:
    note_tokens(number)
