"""What a row of the fault matrix is, and load with a fault in the middle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evaluations.chaos.calling import Entry, Reply, counted, open_loop, percentile
from evaluations.chaos.corpus import asked, half, right
from evaluations.chaos.stack import Stack

Streams = Literal["all", "none", "half"]
_AFTERMATH_SECONDS = 6.0  # in which breakers close again and what piled up is served


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: calls a second, and how long faults last. `short` is for a quick look. `seed` is that of all chance."""

    rate: float
    short: bool
    seed: int = 1
    kills: int = 1000  # of Chroma in F17

    def seconds(self, full: float) -> float:
        """A length of time, cut in the short form."""
        return full * 0.4 if self.short else full

    def times(self, full: int) -> int:
        """A number of repetitions, cut in the short form."""
        return max(1, full // 10) if self.short else full


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a row behaved as expected, and the figures, in words and for programs.

    `passed` is None for a row that cannot be run on this machine; `measured` then says why.
    """

    passed: bool | None
    measured: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, what has to happen, and how to find out."""

    id: str
    fault: str
    expected: str
    run: Callable[[Stack, Plan], Coroutine[Any, Any, Outcome]]


@dataclass(frozen=True, slots=True)
class LoneRow:
    """A row that needs no running product. It gets an empty folder, and runs alone."""

    id: str
    fault: str
    expected: str
    run: Callable[[Path, Plan], Outcome]


@dataclass(frozen=True, slots=True)
class Load:
    """What callers got, and when the fault began and ended, in seconds since the load began."""

    replies: Sequence[Reply]
    bodies: Sequence[dict[str, Any]]
    fault_began: float
    fault_ended: float

    @property
    def lost(self) -> list[Reply]:
        """Calls that ended in an error or in nothing."""
        return [reply for reply in self.replies if reply.result in ("error", "hang")]

    def cut(self, moment: float) -> list[Reply]:
        """Lost streams whose first byte had come before a moment: nobody could repeat them."""
        return [each for each in self.lost if 0 < each.first <= moment - each.began]

    @property
    def wrong(self) -> int:
        """Answers that cannot be right."""
        pairs = zip(self.replies, self.bodies, strict=True)
        answered = [(reply, body) for reply, body in pairs if reply.result in ("good", "degraded")]
        return sum(not right(body, reply.text, reply.tenant) for reply, body in answered)

    @property
    def leaks(self) -> int:
        """Replies with something in them that the caller may not see."""
        return sum(reply.leaked for reply in self.replies)

    @property
    def clean(self) -> bool:
        """No wrong answer and no leak."""
        return not self.wrong and not self.leaks

    def during(self) -> list[Reply]:
        """Calls that began while the fault lasted."""
        return [each for each in self.replies if self.fault_began <= each.began < self.fault_ended]

    def before(self) -> list[Reply]:
        """Calls that ended before the fault."""
        return [each for each in self.replies if each.ended < self.fault_began]

    def healthy(self) -> list[Reply]:
        """Calls that the fault cannot have touched: ended before it, or begun when it was over for a while."""
        later = [each for each in self.replies if each.began >= self.fault_ended + _AFTERMATH_SECONDS]
        return [*self.before(), *later]

    def good_after(self, moment: float) -> float:
        """Seconds from a moment until the first good answer to a call that began after it; infinite without one."""
        return min((each.ended for each in self.replies if each.began >= moment and each.result == "good"),
                   default=float("inf")) - moment  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """For programs."""
        times = [reply.seconds for reply in self.replies]
        return {
            "calls": len(self.replies), **counted(self.replies), "wrong": self.wrong, "leaks": self.leaks,
            "p50": round(percentile(times, 0.5), 3), "p95": round(percentile(times, 0.95), 3),
            "max": round(max(times, default=0), 3),
            "details": sorted({reply.detail for reply in self.replies if reply.detail})[:5],
        }  # fmt: skip

    def words(self) -> str:
        """`40 calls: 39 good, 1 refused; slowest 3.1 s`, and what must never be, where it is."""
        counts = ", ".join(f"{number} {result}" for result, number in counted(self.replies).most_common())
        never = f", {self.wrong} WRONG" * bool(self.wrong) + f", {self.leaks} LEAKED" * bool(self.leaks)
        return f"{len(self.replies)} calls: {counts}{never}; slowest {max(e.seconds for e in self.replies):.1f} s"


async def under_load(
    entry: Entry,
    rate: float,
    seconds: float,
    fault: Callable[[], object],
    *,
    at: float = 5.0,
    streams: Streams = "half",
) -> Load:
    """Call for `seconds`, and after `at` seconds do `fault`, which blocks for as long as the fault lasts."""
    bodies = [
        asked(number, stream=streams == "all" or (streams == "half" and half(number)))
        for number in range(round(rate * seconds))
    ]
    began = time.perf_counter()
    calling = asyncio.ensure_future(open_loop(entry, lambda number: bodies[number], rate, seconds))
    await asyncio.sleep(at)
    fault_began = time.perf_counter() - began
    try:
        await asyncio.to_thread(fault)
        fault_ended = time.perf_counter() - began
    finally:
        replies = await calling
    return Load(replies, bodies, fault_began, fault_ended)
