"""Nodes that are killed, frozen, restarted and starved, and a proxy that is reloaded."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import httpx

from evaluations.chaos.calling import open_loop
from evaluations.chaos.corpus import asked
from evaluations.chaos.environment import movable_clock
from evaluations.chaos.rows import Outcome, Plan, Row, under_load
from evaluations.chaos.stack import Stack
from rag.errors import ConfigurationError
from rag.proxy.placing import update

_SLOWEST_RETRY = 3.0  # seconds that a retry may add
_READ_SECONDS = 15.0  # proxy.read_seconds, and admission.queue_seconds, in which a stream says nothing yet
_STARTING = 120.0  # seconds in which all nodes start, also where they share two cores with others
_STOPPING = 1.0  # seconds until all processes of a node have got their signal


async def kill_one(stack: Stack, plan: Plan) -> Outcome:
    """F1"""
    load = await under_load(stack.entry, plan.rate, plan.seconds(20), stack.nodes[0].kill)
    usual = max((reply.seconds for reply in load.before()), default=_READ_SECONDS)
    slowest = max(reply.seconds for reply in load.replies)
    cut = load.cut(load.fault_ended)
    lost = [reply for reply in load.lost if reply not in cut]
    passed = not lost and load.clean and slowest <= usual + _SLOWEST_RETRY + usual
    return Outcome(passed, f"{load.words()}; {len(cut)} streams cut that had begun", load.figures())


async def freeze_one(stack: Stack, plan: Plan) -> Outcome:
    """F2"""
    frozen = plan.seconds(20)

    def freeze() -> None:
        stack.nodes[0].freeze()
        time.sleep(frozen)
        stack.nodes[0].thaw()

    load = await under_load(stack.entry, plan.rate, frozen + 15, freeze, streams="all")
    usual = max((reply.seconds for reply in load.before()), default=_READ_SECONDS)
    cut = load.cut(load.fault_began + _STOPPING)
    lost = [reply for reply in load.lost if reply not in cut]
    slowest = max(reply.seconds for reply in load.during())
    passed = not lost and load.clean and slowest <= _READ_SECONDS + 2 * usual
    words = f"{load.words()}; {len(cut)} streams cut that had begun; slowest that began later {slowest:.1f} s"
    return Outcome(passed, words, load.figures())


async def kill_all(stack: Stack, plan: Plan) -> Outcome:
    """F3"""
    down = plan.seconds(10)
    started = killing = 0.0

    def kill() -> None:
        nonlocal started, killing
        began = time.perf_counter()
        for node in stack.nodes:
            node.kill()
        killing = time.perf_counter() - began
        time.sleep(down)
        began = time.perf_counter()
        for node in stack.nodes:
            node.begin()
        for node in stack.nodes:
            node.wait()
        started = time.perf_counter() - began

    load = await under_load(stack.entry, min(2.0, plan.rate), down + _STARTING, kill)
    first = load.fault_began + killing
    dead = [each for each in load.replies if first < each.began and each.ended < first + down]
    recovery = load.good_after(load.fault_ended - started)
    slowest = max((each.seconds for each in dead), default=0.0)
    told = all(each.result == "refused" for each in dead)
    usual = max((reply.seconds for reply in load.before()), default=_READ_SECONDS)
    passed = bool(dead) and told and slowest <= 1.5 and recovery <= started + 2 + usual and load.clean
    words = (
        f"{len(dead)} calls while all were dead: {'all' if told else 'NOT all'} refused with Retry-After, slowest "
        f"{slowest:.2f} s; first good answer {recovery:.1f} s after the start began, which took {started:.1f} s"
    )
    return Outcome(passed, words, load.figures())


async def rolling_restart(stack: Stack, plan: Plan) -> Outcome:
    """F4"""
    took = []

    def restart() -> None:
        for node in stack.nodes:
            took.append(node.stop())
            node.start()

    calls = 120 if plan.short else 440
    load = await under_load(stack.entry, plan.rate, calls / plan.rate, restart, at=2)
    passed = not load.lost and load.clean and len(load.replies) >= calls
    ends = ", ".join(f"{seconds:.1f}" for seconds in took)
    return Outcome(passed, f"{load.words()}; the nodes ended in {ends} s", load.figures())


async def terminate_during_streams(stack: Stack, plan: Plan) -> Outcome:
    """F5"""
    node = stack.node_entry(0)
    calls = asyncio.ensure_future(open_loop(node, lambda number: asked(number, stream=True), 40, 0.25))
    await asyncio.sleep(1.5)
    seconds = await asyncio.to_thread(stack.nodes[0].stop)
    replies = await calls
    whole = sum(reply.result == "good" for reply in replies)
    passed = whole == len(replies) == 10 and seconds <= 30
    details = {reply.detail for reply in replies if reply.detail}
    return Outcome(
        passed, f"{whole} of {len(replies)} streams whole, exit after {seconds:.1f} s {details or ''}".strip()
    )


async def no_file_descriptors(stack: Stack, plan: Plan) -> Outcome:
    """F21"""
    lasts = plan.seconds(15)

    def starve() -> None:
        starved = stack.nodes[0].tree()
        before = [process.rlimit(7) for process in starved]  # RLIMIT_NOFILE
        for process, (_, most) in zip(starved, before, strict=True):
            process.rlimit(7, (process.num_fds(), most))
        time.sleep(lasts)
        for process, limit in zip(starved, before, strict=True):
            process.rlimit(7, limit)

    load = await under_load(stack.entry, plan.rate, lasts + 10, starve)
    passed = len(load.lost) <= 0.01 * len(load.replies) and load.clean
    return Outcome(passed, load.words(), load.figures())


async def clock_jumps(stack: Stack, plan: Plan) -> Outcome:
    """F22"""
    node, clock = stack.nodes[0], stack.folder / "clock"
    usual = node.environment
    movable = movable_clock(clock)
    if not movable:
        return Outcome(None, "no clock can be moved: libfaketime is not installed (Debian: faketime)")
    each = plan.seconds(12)
    left: list[int] = []

    def look() -> None:
        answer = httpx.post(
            f"http://127.0.0.1:{stack.ports[0]}/v1/search", json={"query": "notice of error"},
            headers=stack.observer.headers, timeout=30, trust_env=False,
        )  # fmt: skip
        left.append(int(answer.raise_for_status().headers["RateLimit-Remaining"]))

    def jump() -> None:
        look()
        for offset in ("+3600", "-3600", "+0"):
            clock.write_text(f"{offset}\n")
            time.sleep(each)
            look()

    node.stop()
    node.environment = {**usual, **movable}
    try:
        node.start()
        load = await under_load(stack.node_entry(0), plan.rate / 2, 3 * each + 10, jump)
    finally:
        node.stop()
        node.environment = usual
    counted = [before - after for before, after in pairwise(left)]
    passed = not load.lost and load.clean and counted == [1, 1, 1]
    words = f"{load.words()}; each of 3 requests after a jump took 1 from the caller's limit: {counted == [1, 1, 1]}"
    return Outcome(passed, words, load.figures())


async def reloads(stack: Stack, plan: Plan) -> Outcome:
    """F29"""
    number = plan.times(50)
    refused = False

    def reload() -> None:
        nonlocal refused
        for _ in range(number):
            stack.nginx.reload()
            time.sleep(0.2)
        broken = stack.nginx.settings.proxy.model_copy(update={"certificate_key": str(stack.nginx.nodes)})
        try:
            update(stack.nginx.settings.model_copy(update={"proxy": broken}))
        except ConfigurationError:
            refused = True

    load = await under_load(stack.entry, plan.rate, number * 0.25 + 5, reload, at=2)
    words = f"{number} reloads; {load.words()}; bad configuration {'refused' if refused else 'TAKEN'}"
    return Outcome(not load.lost and load.clean and refused, words, load.figures())


ROWS = (
    Row(
        "F1", "kill -9 of one node", "no error but for streams that had begun there; no retry takes over 3 s", kill_one
    ),
    Row(
        "F2",
        "SIGSTOP of one node",
        "no error but for streams that had begun; others wait at most 2 silences",
        freeze_one,
    ),
    Row("F3", "kill -9 of all nodes", "refused with Retry-After within 1.5 s; good within 2 s of the start", kill_all),
    Row("F4", "restart of one node after the other", "nobody notices", rolling_restart),
    Row("F5", "SIGTERM during 10 streams", "all streams end whole; exit within 30 s", terminate_during_streams),
    Row("F21", "a node out of file descriptors", "at most 1 % errors", no_file_descriptors),
    Row("F22", "a node's clock jumps an hour ahead, then back", "nobody signed out, no fresh limit", clock_jumps),
    Row("F29", "nginx reloaded 50 times, and a bad configuration", "nothing lost; refused", reloads),
)
