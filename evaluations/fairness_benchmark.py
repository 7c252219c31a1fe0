"""What one person at fifty times the others' rate does to the others, on a real server with several people's keys.

    python -m evaluations.fairness_benchmark

nginx, one node with eight slots, two of them for one person, its worker and stores, and a language model's server
without a model run. Eight people of one tenant ask for half of what the node can answer, first alone, and then beside
the ninth. Nobody waits for an answer before the next question comes, and no question is asked twice.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from evaluations.chaos.callers import Caller
from evaluations.chaos.calling import Entry, Reply, counted, open_loop, percentile
from evaluations.chaos.corpus import asked
from evaluations.chaos.stack import running_stack
from evaluations.runs.machine import machine
from evaluations.timing import table

_SLOTS: Final = 8
_ANSWER_SECONDS: Final = 2.4  # of the stack's model on its corpus
_LOAD: Final = 0.5  # of the capacity, by the others
_WARM_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """What the others got, and what the greedy one got; nothing where there was none."""

    others: Sequence[Reply]
    greedy: Sequence[Reply] = ()

    @property
    def p95(self) -> float:
        """Seconds, of the others' answers."""
        return percentile([each.seconds for each in self.others if each.result == "good"], 0.95)


async def asking(entry: Entry, people: Sequence[Caller], rate: float, seconds: float) -> list[Reply]:
    """Everybody asks `rate` questions a second, one after the other in turn."""

    async def one(place: int, person: Caller) -> list[Reply]:
        await asyncio.sleep(place / (rate * len(people)))
        return await open_loop(replace(entry, callers=(person,)), lambda _: asked(0, stream=True), rate, seconds)

    found = await asyncio.gather(*(one(place, person) for place, person in enumerate(people)))
    return [reply for replies in found for reply in replies]


async def measure(
    entry: Entry, people: Sequence[Caller], greedy: Caller, times: float, seconds: float
) -> tuple[Found, Found]:
    """Without and with the greedy one, who asks `times` as often as each of the others."""
    rate = _LOAD * _SLOTS / _ANSWER_SECONDS / len(people)
    await asking(entry, people, rate, _WARM_SECONDS)
    alone = Found(await asking(entry, people, rate, seconds))
    beside, hungry = await asyncio.gather(
        asking(entry, people, rate, seconds), asking(entry, [greedy], times * rate, seconds)
    )
    return alone, Found(beside, hungry)


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Seconds of each of the two loads.")
@click.option("--times", default=50.0, show_default=True, help="How many times their rate the other one asks at.")
def main(seconds: float, times: float) -> None:
    """Print what the others got without and with the one who asks too much."""
    folder = tempfile.TemporaryDirectory(prefix="banksight-fairness-")
    with folder as place, running_stack(Path(place), 1, "oidc") as stack:
        greedy = stack.observer
        people = [each for each in stack.people if each.tenant == greedy.tenant]
        alone, beside = asyncio.run(measure(stack.entry, people, greedy, times, seconds))
    click.echo(f"{machine()}; load average {os.getloadavg()[0]:.1f}\n")
    rows: list[tuple[str, ...]] = [("", "answered", "only quoted", "turned away", "lost", "p50 s", "p95 s")]
    rows += [_row(f"{len(people)} people alone", alone.others), _row("... beside the greedy one", beside.others)]
    rows += [_row(f"the one at {times:g} times their rate", beside.greedy)]
    click.echo(f"{table(rows)}\n\np95 of the others: {100 * (beside.p95 / alone.p95 - 1):+.0f} %")


def _row(name: str, replies: Sequence[Reply]) -> tuple[str, ...]:
    count = counted(replies)
    good = [each.seconds for each in replies if each.result == "good"]
    times = (f"{percentile(good, share):.2f}" for share in (0.5, 0.95))
    counts = (count["good"], count["degraded"], count["refused"], count["error"] + count["hang"])
    return (name, *map(str, counts), *times)


if __name__ == "__main__":
    main()
