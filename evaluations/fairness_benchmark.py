"""What one person at fifty times the others' rate does to the others, on a real server with several people's keys.

    python -m evaluations.fairness_benchmark

nginx, one node with eight slots, two of them for one person, and a language model's server without a model run. Ten
people ask for half of what the node can answer, first alone, and then beside the eleventh. Nobody waits for an answer
before the next question comes, and no question is asked twice.
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

from evaluations.chaos.calling import Entry, Reply, counted, open_loop, percentile
from evaluations.chaos.corpus import asked
from evaluations.chaos.stack import running_stack
from evaluations.runs.machine import machine
from evaluations.timing import table
from rag.domain import Principal
from rag.governance.identity import open_key_store
from rag.settings import load_settings
from rag.storage.database import open_database

_SLOTS: Final = 8
_ANSWER_SECONDS: Final = 2.4  # of the stack's model on its corpus
_LOAD: Final = 0.5  # of the capacity, by the ten
_WARM_SECONDS: Final = 5.0
_ENVIRONMENT: Final = {"IDENTITY_MODE": "api_key", "BANKSIGHT__ADMISSION__USER_SLOTS": str(_SLOTS // 4)}


@dataclass(frozen=True, slots=True)
class Found:
    """What the ten got, and what the greedy one got; none where there was none."""

    others: Sequence[Reply]
    greedy: Sequence[Reply] = ()

    @property
    def p95(self) -> float:
        """Seconds, of the ten's answers."""
        return percentile([each.seconds for each in self.others if each.result == "good"], 0.95)


def make_keys(data_dir: Path, number: int) -> list[str]:
    """Keys of so many people, in the registry of a node."""
    settings = load_settings("test", environment={}, overrides={"data_dir": str(data_dir)})
    database = open_database(settings.database_url)
    try:
        store = open_key_store(settings, database)
        people = [Principal(f"person-{place}", settings.tenant, frozenset({"user"})) for place in range(number)]
        return [store.create(each.subject, each, 3600.0)[1] for each in people]
    finally:
        database.dispose()


async def asking(entry: Entry, keys: Sequence[str], rate: float, seconds: float) -> list[Reply]:
    """Everybody asks `rate` questions a second, one after the other in turn."""

    async def one(place: int, key: str) -> list[Reply]:
        await asyncio.sleep(place / (rate * len(keys)))
        return await open_loop(
            replace(entry, key=key), lambda number: asked(number + place, stream=True), rate, seconds
        )

    found = await asyncio.gather(*(one(place, key) for place, key in enumerate(keys)))
    return [reply for replies in found for reply in replies]


async def measure(entry: Entry, keys: Sequence[str], times: float, seconds: float) -> tuple[Found, Found]:
    """Without and with the last of the people, who asks `times` as often as each of the others."""
    *others, greedy = keys
    rate = _LOAD * _SLOTS / _ANSWER_SECONDS / len(others)
    await asking(entry, others, rate, _WARM_SECONDS)
    alone = Found(await asking(entry, others, rate, seconds))
    beside, hungry = await asyncio.gather(
        asking(entry, others, rate, seconds), asking(entry, [greedy], times * rate, seconds)
    )
    return alone, Found(beside, hungry)


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Seconds of each of the two loads.")
@click.option("--people", default=10, show_default=True, help="Those who do not ask too much.")
@click.option("--times", default=50.0, show_default=True, help="How many times their rate the other one asks at.")
def main(seconds: float, people: int, times: float) -> None:
    """Print what the others got without and with the one who asks too much."""
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="banksight-fairness-") as folder, running_stack(Path(folder), 1) as stack:
        keys = make_keys(Path(folder) / "node-0", people + 1)
        alone, beside = asyncio.run(measure(stack.nginx.api, keys, times, seconds))
    click.echo(f"{machine()}; load average {os.getloadavg()[0]:.1f}\n")
    rows: list[tuple[str, ...]] = [("", "answered", "turned away", "lost", "p50 s", "p95 s")]
    rows += [_row(f"{people} people alone", alone.others), _row("... beside the greedy one", beside.others)]
    rows += [_row(f"the one at {times:g} times their rate", beside.greedy)]
    click.echo(f"{table(rows)}\n\np95 of the others: {100 * (beside.p95 / alone.p95 - 1):+.0f} %")


def _row(name: str, replies: Sequence[Reply]) -> tuple[str, ...]:
    count = counted(replies)
    good = [each.seconds for each in replies if each.result == "good"]
    lost = len(replies) - count["good"] - count["refused"]
    times = (f"{percentile(good, share):.2f}" for share in (0.5, 0.95))
    return (name, str(len(good)), str(count["refused"]), str(lost), *times)


if __name__ == "__main__":
    main()
