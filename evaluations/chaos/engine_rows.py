"""A language model that fails in every way, callers that go away, and callers that all ask the same."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

from evaluations.chaos.callers import in_turn
from evaluations.chaos.calling import Reply, call, open_loop, percentile
from evaluations.chaos.corpus import TENANTS, asked, half
from evaluations.chaos.rows import Outcome, Plan, Row
from evaluations.chaos.stack import Stack

_DEADLINE = 30.0  # server.deadline_seconds
_BREAKER_REST = 3.0


async def engine_faults(stack: Stack, plan: Plan) -> Outcome:
    """F11"""
    words, passed = [], True
    for mode in ("error", "hang", "slow", "garbage", "empty", "nonsense", "infinite", "cut"):
        stack.llm_mode(mode)
        entry = stack.entry
        replies = await open_loop(entry, lambda number: asked(number, stream=half(number)), plan.rate, 2)
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
            caller = in_turn(stack.people, each)
            reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports[each % len(stack.ports)])
            own = {"Content-Type": "application/json", "Content-Length": str(len(body)), **caller.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
            writer.write(f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode() + body)
            stack.watch.note(caller, await asyncio.wait_for(reader.readuntil(b"event: "), 30))
            await asyncio.sleep(0.05 * (each % 10))  # at different points of the answer
            writer.transport.abort()

    await asyncio.gather(*(leave(each) for each in range(number)))
    began = time.perf_counter()
    while (running := stack.llm_counts()["running"]) and time.perf_counter() - began < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began
    reply = (await open_loop(stack.entry, lambda each: asked(each, stream=True), 1, 1))[0]
    passed = not running and took <= 1 and reply.result == "good"
    return Outcome(
        passed, f"{number} callers left; {running} generations ran after {took:.2f} s; the next caller: {reply.result}"
    )


async def stampede(stack: Stack, plan: Plan) -> Outcome:
    """F15"""
    number = plan.times(100)
    body = asked(0, stream=False)
    people = [each for each in stack.people if each.tenant == TENANTS[0]]
    before = stack.llm_counts()["came"]
    async with stack.entry.client() as client:
        replies = await asyncio.gather(
            *(call(client, stack.entry, body, caller=in_turn(people, each)) for each in range(number))
        )
    calls = stack.llm_counts()["came"] - before
    good = sum(reply.result == "good" for reply in replies)
    refused = sum(reply.result == "refused" for reply in replies)
    passed = calls == 1 and good > 0 and good + refused == number
    words = f"{number} callers with one question: {good} good, {refused} refused for want of a place"
    return Outcome(passed, f"{words}; {calls} calls of the model")


async def overload(stack: Stack, plan: Plan) -> Outcome:
    """F12"""
    lasts = plan.seconds(30)
    capacity = await _capacity(stack, plan.seconds(15))
    rate = 10 * capacity
    replies = await open_loop(stack.entry, lambda number: asked(number, stream=half(number)), rate, lasts)
    served = [reply for reply in replies if reply.result in ("good", "degraded") and reply.ended <= lasts + 5]
    goodput = len(served) / max(lasts, max((reply.ended for reply in served), default=lasts))
    refused = [reply for reply in replies if reply.result == "refused"]
    lost = [reply for reply in replies if reply.result in ("error", "hang")]
    began = time.perf_counter()
    while (await open_loop(stack.entry, lambda each: asked(each, stream=False), 1, 1))[0].result != "good":  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    recovery = time.perf_counter() - began
    told = percentile([reply.seconds - reply.connecting for reply in refused], 0.5)
    connected = percentile([reply.seconds for reply in refused], 0.5)
    passed = not lost and goodput >= 0.9 * capacity and told <= 0.05 and recovery <= 5 + 4
    words = (
        f"capacity {capacity:.1f}/s; {rate:.0f}/s offered: {goodput:.1f}/s answered, {len(refused)} refused "
        f"(median {1000 * told:.0f} ms after the request was sent, {1000 * connected:.0f} ms with the new TLS "
        f"connection), {len(lost)} lost; good answer {recovery:.1f} s after"
    )
    details = sorted({reply.detail for reply in lost})[:5]
    return Outcome(passed, words, {"details": details})


async def abuse(stack: Stack, plan: Plan) -> Outcome:
    """F13"""
    lasts, rate = plan.seconds(60), plan.rate / 2
    abuser, *others = stack.people
    quiet = replace(stack.entry, callers=tuple(others))
    loud = replace(stack.entry, callers=(abuser,))

    async def usual() -> list[Reply]:
        return await open_loop(quiet, lambda number: asked(number, stream=half(number)), rate, lasts)

    before = await usual()
    flood = asyncio.ensure_future(
        open_loop(loud, lambda number: asked(2 * number, stream=False), 50 * rate / len(others), lasts)
    )
    during = await usual()
    abusive = await flood
    turned_away = sum(reply.result != "good" for reply in during)
    p95 = [percentile([reply.seconds for reply in load], 0.95) for load in (before, during)]
    passed = not turned_away and p95[1] <= 1.2 * p95[0] and not any(reply.leaked for reply in (*before, *during))
    words = (
        f"the others' 95th percentile {p95[0]:.2f} s before, {p95[1]:.2f} s during ({100 * (p95[1] / p95[0] - 1):+.0f} "
        f"%), {turned_away} of {len(during)} of theirs not good; of the one's {len(abusive)} calls "
        f"{sum(reply.result == 'refused' for reply in abusive)} refused"
    )
    return Outcome(passed, words)


async def _capacity(stack: Stack, seconds: float) -> float:
    """Answers a second that 24 callers get who always ask again."""
    until = time.perf_counter() + seconds
    good = 0
    began = time.perf_counter()
    async with stack.entry.client() as client:

        async def caller(first: int) -> None:
            nonlocal good
            number = first
            while time.perf_counter() < until:
                body = asked(2 * number, stream=half(number))
                reply = await call(client, stack.entry, body, caller=in_turn(stack.people, first))
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
    Row("F13", "one person asks 50 times as often as others", "others' p95 + 20 % at most, none refused", abuse),
    Row("F14", "500 callers leave in the middle", "no generation runs 1 s later", disconnects),
    Row("F15", "100 callers ask the same at once", "one call of the model", stampede),
)
