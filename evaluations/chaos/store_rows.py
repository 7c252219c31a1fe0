"""Redis and Chroma that are killed, frozen, slow, full, or say wrong things."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

from evaluations.chaos.calling import Reply, percentile
from evaluations.chaos.rows import Outcome, Plan, Row, under_load
from evaluations.chaos.stack import Stack

_ADDED_BY_REDIS = 0.06  # seconds: its timeout of 50 ms, and a little
_CHROMA_SECONDS = 2.5
_STARTING = 60.0  # seconds in which Chroma starts and is found, also on a machine that does much else


def _median(replies: Sequence[Reply]) -> float:
    return percentile([reply.seconds for reply in replies], 0.5)


async def _without_redis(stack: Stack, plan: Plan, fault: Callable[[], None], heal: Callable[[], None]) -> Outcome:
    """The fault comes and goes, so that whatever else the machine does meanwhile weighs on both sides alike."""
    each, turns = plan.seconds(10), 4
    spans: list[tuple[float, float]] = []

    def hurt() -> None:
        began = time.perf_counter()
        for _ in range(turns):
            fault()
            since = time.perf_counter() - began
            time.sleep(each)
            heal()
            spans.append((since, time.perf_counter() - began))
            time.sleep(each)

    load = await under_load(stack.entry, plan.rate, 2 * turns * each + 5, hurt)
    spans = [(load.fault_began + since, load.fault_began + until) for since, until in spans]
    without = [reply for reply in load.replies if any(since <= reply.began < until for since, until in spans)]
    usual = [reply for reply in load.replies if reply not in without]
    added = _median(without) - _median(usual)
    passed = not load.lost and load.clean and added <= _ADDED_BY_REDIS
    words = f"{load.words()}; median answer {1000 * added:+.0f} ms against {1000 * _median(usual):.0f} ms with Redis"
    return Outcome(passed, words, load.figures())


async def redis_killed(stack: Stack, plan: Plan) -> Outcome:
    """F6"""
    return await _without_redis(stack, plan, stack.redis.kill, stack.redis.start)


async def redis_frozen(stack: Stack, plan: Plan) -> Outcome:
    """F7"""
    return await _without_redis(stack, plan, stack.redis.freeze, stack.redis.thaw)


async def redis_unwell(stack: Stack, plan: Plan) -> Outcome:
    """F8"""
    link, each = stack.redis_link, plan.seconds(8)

    def config(*words: str) -> None:
        port = str(stack.redis_link.target)
        subprocess.run(["redis-cli", "-p", port, *words], check=True, capture_output=True)

    def hurt() -> None:
        for fault in ("slow", "reset", "corrupt", "drip"):
            link.become(fault)
            time.sleep(each)
        link.become("none")
        for bad, good in (
            (("config", "set", "maxmemory", "1"), ("config", "set", "maxmemory", "0")),
            (("replicaof", "127.0.0.1", "1"), ("replicaof", "no", "one")),
        ):
            config(*bad)
            time.sleep(each)
            config(*good)
        config("config", "set", "requirepass", "secret")
        time.sleep(each)
        config("-a", "secret", "config", "set", "requirepass", "")

    load = await under_load(stack.entry, plan.rate, 7 * each + 14, hurt, at=10)
    return Outcome(not load.lost and load.clean, load.words(), load.figures())


async def chroma_killed(stack: Stack, plan: Plan) -> Outcome:
    """F9"""
    down = plan.seconds(15)
    started = 0.0

    def kill() -> None:
        nonlocal started
        stack.chroma.kill()
        time.sleep(down)
        began = time.perf_counter()
        stack.chroma.start()
        started = time.perf_counter() - began

    load = await under_load(stack.entry, plan.rate, down + _STARTING, kill)
    usual = max((reply.seconds for reply in load.before()), default=3.0)
    recovery = load.good_after(load.fault_ended)
    passed = not load.lost and load.clean and recovery <= 2 + usual
    words = f"{load.words()}; good again {recovery:.1f} s after Chroma was back, which took {started:.1f} s"
    return Outcome(passed, words, load.figures())


async def chroma_slow(stack: Stack, plan: Plan) -> Outcome:
    """F10"""
    each = plan.seconds(12)
    links = stack.chroma_link

    def hurt() -> None:
        stack.chroma.freeze()
        time.sleep(each)
        stack.chroma.thaw()
        links.become("slow", 5.0)
        time.sleep(each)
        links.become("drip")
        time.sleep(each)
        links.become("none")

    load = await under_load(stack.entry, plan.rate, 3 * each + 25, hurt, at=10)
    usual = max((reply.seconds for reply in load.healthy()), default=3.0)
    slowest = max((reply.seconds for reply in load.during()), default=0.0)
    searches = max((reply.searching for reply in load.during()), default=0.0)
    threads = max(process.num_threads() for node in stack.nodes for process in node.tree())
    passed = not load.lost and load.clean and slowest <= usual + _CHROMA_SECONDS
    words = (
        f"{load.words()}; slowest before and after {usual:.1f} s; slowest search {searches:.1f} s; at most {threads} "
        "threads in a process"
    )
    return Outcome(passed, words, load.figures())


ROWS = (
    Row("F6", "kill -9 of Redis", "no error; answers at most 60 ms later", redis_killed),
    Row("F7", "SIGSTOP of Redis", "no error; answers at most 60 ms later", redis_frozen),
    Row("F8", "Redis slow, cut, corrupt, full, read-only, wrong password", "no error, no wrong answer", redis_unwell),
    Row(
        "F9",
        "kill -9 of Chroma",
        "labelled keyword search or 503 with Retry-After; good 2 s after it is back",
        chroma_killed,
    ),
    Row("F10", "Chroma frozen, 5 s late, one byte at a time", "as F9, and at most 2.5 s later", chroma_slow),
)
