"""How many nodes a traffic needs: people who think, ask, wait and think again, before nodes that share them out.

A simulation of queues with a seed, no measurement: see `evaluations.load.cards` for what a card is assumed to do. What
it says about the product's own door and proxy is checked against real nodes: `docs/performance.md`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from evaluations.load.cards import Card
from evaluations.load.node import Door, Node, Work
from evaluations.timing import percentile

CACHED_SECONDS: Final = 0.02  # of an answer that was given before
TURNED_AWAY: Final = 0.01  # share of questions that may be turned away where a number of nodes is called enough
WORK: Final = Work()
DOOR: Final = Door()
_ASK, _ARRIVE, _NODE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Traffic:
    """`users` at once, who think `think_seconds` on average; `cached` of their questions were answered before."""

    users: int
    think_seconds: float = 10.0
    cached: float = 0.35


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers per second, seconds that people waited for them, and the share of questions that was turned away."""

    answers: float
    p50: float
    p95: float
    turned_away: float

    def enough(self, seconds: float) -> bool:
        """Whether 19 of 20 answers come within `seconds`, and hardly anybody is turned away."""
        return self.p95 <= seconds and self.turned_away <= TURNED_AWAY


def simulate(
    traffic: Traffic, card: Card, nodes: int, work: Work = WORK, door: Door = DOOR, seconds: float = 240.0,
    seed: int = 0,
) -> Outcome:  # fmt: skip
    """The outcome after a warm-up of a quarter of `seconds`."""
    return _Simulation(traffic, [Node(card, work, door) for _ in range(nodes)], seed).run(seconds)


def nodes_needed(traffic: Traffic, card: Card, work: Work, seconds: float, most: int = 10) -> int | None:
    """The fewest nodes that are enough; None when `most` are not."""
    return next((n for n in range(1, most + 1) if simulate(traffic, card, n, work).enough(seconds)), None)


class _Simulation:
    def __init__(self, traffic: Traffic, nodes: Sequence[Node], seed: int) -> None:
        self._traffic, self._nodes = traffic, nodes
        self._chance = Random(seed)  # noqa: S311 - repeatable on purpose
        self._events: list[tuple[float, int, int, int]] = []
        self._plans = [0] * len(nodes)  # an event of a node counts only if nothing happened to it since
        self._asked = [0.0] * traffic.users
        self._waits: list[tuple[float, float]] = []
        self._away: list[float] = []

    def run(self, seconds: float) -> Outcome:
        for user in range(self._traffic.users):
            self._push(self._chance.uniform(0, self._traffic.think_seconds), _ASK, user)
        while self._events and self._events[0][0] < seconds:
            now, kind, number, plan = heapq.heappop(self._events)
            if kind == _ASK:
                self._ask(now, number)
            elif kind == _ARRIVE:
                self._arrive(now, number)
            elif plan == self._plans[number]:
                self._happen(now, number)
        return self._outcome(seconds / 4, seconds)

    def _ask(self, now: float, user: int) -> None:
        self._asked[user] = now
        if self._chance.random() < self._traffic.cached:
            self._answered(now + CACHED_SECONDS, user)
        else:
            self._push(now + self._nodes[0].work.own_seconds, _ARRIVE, user)

    def _arrive(self, now: float, user: int) -> None:
        number = min(range(len(self._nodes)), key=lambda each: (self._nodes[each].open, self._chance.random()))
        node = self._nodes[number]
        node.advance(now)
        if not node.offer(user):
            self._turned_away(now, user)
        self._plan(number)

    def _happen(self, now: float, number: int) -> None:
        node = self._nodes[number]
        node.advance(now)
        for late in node.give_up():
            self._turned_away(now, late)
        user = node.finish()
        if user is not None:
            self._answered(now, user)
        self._plan(number)

    def _plan(self, number: int) -> None:
        self._plans[number] += 1
        self._push(self._nodes[number].next_event(), _NODE, number, self._plans[number])

    def _answered(self, now: float, user: int) -> None:
        self._waits.append((now, now - self._asked[user]))
        self._think(now, user)

    def _turned_away(self, now: float, user: int) -> None:
        self._away.append(now)
        self._think(now, user)

    def _think(self, now: float, user: int) -> None:
        self._push(now + self._chance.expovariate(1 / max(self._traffic.think_seconds, 1e-3)), _ASK, user)

    def _push(self, at: float, kind: int, number: int, plan: int = 0) -> None:
        heapq.heappush(self._events, (at, kind, number, plan))

    def _outcome(self, warm: float, seconds: float) -> Outcome:
        waits = [wait for at, wait in self._waits if warm <= at < seconds]
        away = sum(at >= warm for at in self._away)
        p50, p95 = (percentile(waits, share) if waits else 0.0 for share in (0.5, 0.95))
        asked = len(waits) + away
        return Outcome(len(waits) / (seconds - warm), p50, p95, away / asked if asked else 0.0)
