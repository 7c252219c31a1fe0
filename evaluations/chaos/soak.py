"""F31: minutes under load with a random fault every 20 seconds, and what is left of the answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from evaluations.chaos.rows import Load, Outcome, Plan, under_load
from evaluations.chaos.stack import Stack

_PAUSE_SECONDS = 20.0
_LASTS_SECONDS = 6.0
_AVAILABILITY = 0.995


def _faults(stack: Stack, chance: random.Random) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Each fault and its end, by name. One node at most is hurt at a time."""
    node = chance.choice(stack.nodes)
    return {
        "kill a node": (node.kill, node.start),
        "freeze a node": (node.freeze, node.thaw),
        "restart a node": (node.stop, node.start),
        "kill Redis": (stack.redis.kill, stack.redis.start),
        "freeze Redis": (stack.redis.freeze, stack.redis.thaw),
        "corrupt Redis": (lambda: stack.redis_link.become("corrupt"), lambda: stack.redis_link.become("none")),
        "kill Chroma": (stack.chroma.kill, stack.chroma.start),
        "freeze Chroma": (stack.chroma.freeze, stack.chroma.thaw),
        "slow Chroma": (lambda: stack.chroma_link.become("slow", 1.0), lambda: stack.chroma_link.become("none")),
        "model: error": (lambda: stack.llm_mode("error"), lambda: stack.llm_mode("good")),
        "model: hang": (lambda: stack.llm_mode("hang"), lambda: stack.llm_mode("good")),
        "model: nonsense": (lambda: stack.llm_mode("nonsense"), lambda: stack.llm_mode("good")),
        "reload nginx": (stack.nginx.reload, lambda: None),
        "kill the worker": (stack.worker.kill, stack.worker.start),
        "issuer away": (lambda: stack.issuer_link.become("reset"), lambda: stack.issuer_link.become("none")),
    }


async def soak(stack: Stack, plan: Plan, minutes: float) -> Outcome:
    """The whole time under load. Good answers are those that are right, whole, and, where not as usual, labelled."""
    chance = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
    done: list[str] = []
    seconds = minutes * 60
    before = {child.name: child.memory_mib() for child in stack.nodes}

    def hurt() -> None:
        until = time.perf_counter() + seconds - 2 * _PAUSE_SECONDS
        while time.perf_counter() < until:
            faults = _faults(stack, chance)
            name = chance.choice(sorted(faults))
            begin, end = faults[name]
            done.append(name)
            began = time.perf_counter()
            begin()
            time.sleep(_LASTS_SECONDS)
            end()
            time.sleep(max(1.0, _PAUSE_SECONDS - (time.perf_counter() - began)))

    load = await under_load(stack.entry, plan.rate, seconds, hurt, at=_PAUSE_SECONDS)
    await asyncio.sleep(1)
    share = _good_share(load)
    grown = max(child.memory_mib() - before[child.name] for child in stack.nodes)
    words = f"{len(done)} faults, {100 * share:.2f} % good ({load.words()}); nodes grew by at most {grown:.0f} MiB"
    figures = load.figures() | {"faults": done, "good_share": share, "grown_mib": grown, "seed": plan.seed}
    return Outcome(share >= _AVAILABILITY and load.clean, words, figures)


def _good_share(load: Load) -> float:
    """Of calls that were not told to come back: 503 with Retry-After counts as not good, 429 as not asked."""
    asked = [reply for reply in load.replies if reply.status != 429]
    good = [reply for reply in asked if reply.result in ("good", "degraded")]
    return len(good) / max(1, len(asked))
