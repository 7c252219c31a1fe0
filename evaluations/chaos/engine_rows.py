"""A language model that fails in every way, callers that go away, and callers that all ask the same."""

from __future__ import annotations

import asyncio
import json
import time

from evaluations.chaos.calling import call, open_loop
from evaluations.chaos.corpus import asked
from evaluations.chaos.rows import Outcome, Plan, Row
from evaluations.chaos.stack import Stack

_DEADLINE = 30.0  # server.deadline_seconds
_BREAKER_REST = 3.0


async def engine_faults(stack: Stack, plan: Plan) -> Outcome:
    """F11"""
    words, passed = [], True
    for mode in ("error", "hang", "slow", "garbage", "empty", "nonsense", "infinite", "cut"):
        stack.llm_mode(mode)
        entry = stack.nginx.api
        replies = await open_loop(entry, lambda number: asked(number, stream=number % 2 == 0), plan.rate, 2)
        labelled = sum(reply.result == "degraded" and not reply.cacheable for reply in replies)
        slowest = max(reply.seconds for reply in replies)
        passed = passed and labelled == len(replies) and slowest <= _DEADLINE and not any(e.leaked for e in replies)
        words.append(f"{mode} {labelled}/{len(replies)} in {slowest:.1f} s")
        stack.llm_mode("good")
        await asyncio.sleep(_BREAKER_REST + 0.5)
        await open_loop(entry, lambda number: asked(number, stream=False), 2, 1.5)  # closes the breakers
    return Outcome(passed, f"labelled and not to be cached: {', '.join(words)}")


async def disconnects(stack: Stack, plan: Plan) -> Outcome:
    """F14"""
    number = plan.times(500)
    gate = asyncio.Semaphore(20)

    async def leave(each: int) -> None:
        async with gate:
            body = json.dumps(asked(each, stream=True)).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports[each % len(stack.ports)])
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n\r\n".encode() + body)
            await asyncio.wait_for(reader.readuntil(b"event: "), 30)
            await asyncio.sleep(0.05 * (each % 10))  # at different points of the answer
            writer.transport.abort()

    await asyncio.gather(*(leave(each) for each in range(number)))
    began = time.perf_counter()
    while (running := stack.llm_counts()["running"]) and time.perf_counter() - began < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    reply = (await open_loop(stack.nginx.api, lambda each: asked(each, stream=True), 1, 1))[0]
    passed = not running and took <= 1 and reply.result == "good"
    return Outcome(
        passed, f"{number} callers left; {running} generations ran after {took:.2f} s; the next caller: {reply.result}"
    )


async def stampede(stack: Stack, plan: Plan) -> Outcome:
    """F15"""
    number = plan.times(100)
    body = asked(0, stream=False)
    before = stack.llm_counts()["came"]
    async with stack.nginx.api.client() as client:
        replies = await asyncio.gather(*(call(client, stack.nginx.api, body) for _ in range(number)))
    calls = stack.llm_counts()["came"] - before
    good = sum(reply.result == "good" for reply in replies)
    passed = calls == 1 and good == number
    return Outcome(passed, f"{number} callers with one question: {good} good, {calls} calls of the model")


async def overload(stack: Stack, plan: Plan) -> Outcome:
    """F12"""
    lasts = plan.seconds(30)
    capacity = await _capacity(stack, plan.seconds(15))
    rate = 10 * capacity
    calls = asyncio.ensure_future(
        open_loop(stack.nginx.api, lambda number: asked(number, stream=number % 2 == 0), rate, lasts)
    )
    replies = await calls
    served = [reply for reply in replies if reply.result in ("good", "degraded") and reply.ended <= lasts + 5]
    goodput = len(served) / max(lasts, max((reply.ended for reply in served), default=lasts))
    refused = [reply for reply in replies if reply.result == "refused"]
    slow_refusals = sorted(reply.seconds for reply in refused)
    lost = [reply for reply in replies if reply.result in ("error", "hang")]
    began = time.perf_counter()
    while (await open_loop(stack.nginx.api, lambda each: asked(each, stream=False), 1, 1))[0].result != "good":  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    recovery = time.perf_counter() - began
    p50 = slow_refusals[len(slow_refusals) // 2] if slow_refusals else 0.0
    passed = not lost and goodput >= 0.9 * capacity and p50 <= 0.05 and recovery <= 5 + 4
    words = (
        f"capacity {capacity:.1f}/s; {rate:.0f}/s offered: {goodput:.1f}/s answered, {len(refused)} refused "
        f"(median {1000 * p50:.0f} ms), {len(lost)} lost; good answer {recovery:.1f} s after"
    )
    details = sorted({reply.detail for reply in lost})[:5]
    return Outcome(passed, words, {"details": details})


async def _capacity(stack: Stack, seconds: float) -> float:
    """Answers a second that 24 callers get who always ask again."""
    until = time.perf_counter() + seconds
    good = 0
    began = time.perf_counter()
    async with stack.nginx.api.client() as client:

        async def caller(first: int) -> None:
            nonlocal good
            number = first
            while time.perf_counter() < until:
                reply = await call(client, stack.nginx.api, asked(number, stream=number % 2 == 0))
                good += reply.result == "good"
                number += 1

        await asyncio.gather(*(caller(number) for number in range(24)))
    return good / (time.perf_counter() - began)


ROWS = (
    Row(
        "F11",
        "the model's server: 8 faults",
        "quoted instead, labelled, not to be cached, within the deadline",
        engine_faults,
    ),
    Row(
        "F12",
        "ten times the load that is possible",
        "90 % of what is possible, the rest refused in 50 ms",
        overload,
    ),
    Row("F14", "500 callers leave in the middle", "no generation runs 1 s later", disconnects),
    Row("F15", "100 callers ask the same at once", "one call of the model", stampede),
)
