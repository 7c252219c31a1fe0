"""Who is next, who waits and who is sent away: an hour of traffic in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest

from bentos.fair_queue import Client, FairQueue, Overloaded, Room, Ticket

ROOM = Room(slots=8, user_slots=2, queue=32, queue_seconds=60)
SERVICE_SECONDS = 4.0


class Simulation:
    """Requests arrive at given times, run for `SERVICE_SECONDS` times their cost, and leave."""

    def __init__(self, room: Room = ROOM) -> None:
        self.now = 0.0
        self.queue = FairQueue(lambda: room, now=lambda: self.now)
        self.latencies: dict[Client, list[float]] = defaultdict(list)
        self.refused: dict[Client, list[str]] = defaultdict(list)
        self.ends: list[tuple[float, int, Ticket]] = []
        self._numbers = itertools.count()
        self.most_running = self.most_waiting = 0

    def run(self, arrivals: Iterable[tuple[float, Client, float]], patience: float = 1e9) -> Simulation:
        coming = sorted(arrivals, key=lambda each: each[0])
        for at, client, cost in coming:
            self._until(at)
            self.now = at
            self._arrive(client, cost, patience)
            self.most_running = max(self.most_running, self.queue.running)
            self.most_waiting = max(self.most_waiting, self.queue.waiting)
        self._until(float("inf"))
        return self

    def p95(self, clients: Iterable[Client]) -> float:
        found = sorted(itertools.chain.from_iterable(self.latencies[each] for each in clients))
        return found[int(0.95 * (len(found) - 1))]

    def _arrive(self, client: Client, cost: float, patience: float) -> None:
        holder: list[Ticket] = []

        def called(refusal: Overloaded | None) -> None:
            if refusal:
                self.refused[client].append(refusal.reason)
            elif holder:
                self._begin(holder[0])

        try:
            holder.append(self.queue.enter(client, cost, patience, called))
        except Overloaded as refusal:
            self.refused[client].append(refusal.reason)
            return
        if holder[0].began is not None:
            self._begin(holder[0])

    def _begin(self, ticket: Ticket) -> None:
        heapq.heappush(self.ends, (self.now + SERVICE_SECONDS * ticket.cost, next(self._numbers), ticket))

    def _until(self, time: float) -> None:
        while self.ends and self.ends[0][0] <= time:
            self.now, _, ticket = heapq.heappop(self.ends)
            self.latencies[ticket.client].append(self.now - ticket.came)
            self.queue.leave(ticket, "done")


def _traffic(client: Client, per_second: float, seconds: float, seed: int, cost: float = 1.0) -> list[Any]:
    chance = random.Random(seed)
    found, at = [], 0.0
    while (at := at + chance.expovariate(per_second)) < seconds:
        found.append((at, client, cost))
    return found


PEOPLE = [Client("bank", f"person {number}") for number in range(10)]


def _people(seconds: float = 1200) -> list[Any]:
    """Ten people who together take half of the capacity of two questions per second."""
    return [each for number, one in enumerate(PEOPLE) for each in _traffic(one, 0.1, seconds, number)]


@pytest.mark.proves("LLM10")
def test_one_caller_at_fifty_times_leaves_the_p95_of_the_others_within_a_fifth_and_refuses_none_of_theirs() -> None:
    alone = Simulation().run(_people())
    abuser = Client("bank", "abuser")
    together = Simulation().run(_people() + _traffic(abuser, 5.0, 1200, 99))
    assert together.p95(PEOPLE) <= 1.2 * alone.p95(PEOPLE)
    assert not any(together.refused[one] for one in PEOPLE)
    assert set(together.refused[abuser]) == {"over_share"}


def test_a_tenant_of_many_people_gets_no_more_than_a_tenant_of_one() -> None:
    room = Room(slots=4, user_slots=4, queue=32, queue_seconds=1e9)
    crowd = [Client("big", f"person {number}") for number in range(20)]
    lone = Client("small", "person")
    arrivals = [each for number, one in enumerate(crowd) for each in _traffic(one, 0.5, 600, number)]
    found = Simulation(room).run(arrivals + _traffic(lone, 3.0, 600, 77))
    mine = sum(1 for each in found.latencies[lone])
    theirs = sum(len(found.latencies[one]) for one in crowd)
    assert 0.8 <= mine / theirs <= 1.25


def test_cost_is_shared_out_and_not_the_number_of_questions() -> None:
    room = Room(slots=2, user_slots=2, queue=40, queue_seconds=1e9)
    short, long = Client("bank", "short"), Client("bank", "long")
    found = Simulation(room).run(_traffic(short, 4.0, 600, 1, cost=1.0) + _traffic(long, 4.0, 600, 2, cost=3.0))
    assert 2.4 <= len(found.latencies[short]) / len(found.latencies[long]) <= 3.6


def test_ten_times_the_load_keeps_every_slot_busy_and_every_queue_bounded() -> None:
    found = Simulation().run([each for n, one in enumerate(PEOPLE) for each in _traffic(one, 2.0, 300, n)], patience=30)
    done = sum(len(each) for each in found.latencies.values())
    assert done >= 0.9 * 300 * ROOM.slots / SERVICE_SECONDS
    assert (found.most_running, found.most_waiting) <= (ROOM.slots, ROOM.queue)
    assert max(max(each) for each in found.latencies.values()) <= 30


def test_question_that_cannot_be_done_before_its_deadline_is_refused_at_once() -> None:
    found = Simulation(Room(slots=1, user_slots=1, queue=32, queue_seconds=1e9))
    found.run([(0.0, PEOPLE[0], 1.0)])  # four seconds for a cost of 1, as is now known
    found.run([(10.0, PEOPLE[0], 1.0), (10.1, PEOPLE[1], 1.0), (10.2, PEOPLE[2], 1.0)], patience=11.0)
    assert [len(found.latencies[each]) for each in PEOPLE[:3]] == [2, 1, 0]
    assert found.refused[PEOPLE[2]] == ["deadline"]


def test_who_leaves_the_queue_is_never_called_and_takes_no_slot() -> None:
    queue = FairQueue(lambda: Room(1, 1, 8, 60), now=lambda: 0.0)
    calls: list[str] = []
    running = queue.enter(PEOPLE[0], 1.0, 60, lambda _: calls.append("first"))
    left = queue.enter(PEOPLE[1], 1.0, 60, lambda _: calls.append("left"))
    queue.enter(PEOPLE[2], 1.0, 60, lambda _: calls.append("next"))
    queue.leave(left, "given_up")
    queue.leave(running, "done")
    assert (calls, queue.running, queue.waiting) == (["next"], 1, 0)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_coming_leaving_and_resizing_keeps_the_bounds_and_loses_no_slot(seed: int) -> None:
    chance = random.Random(seed)
    rooms = [Room(3, 2, 5, 60), Room(1, 1, 0, 60), Room(6, 6, 10, 60)]
    room = [rooms[0]]
    queue = FairQueue(lambda: room[0], now=lambda: 0.0)
    open_tickets: dict[int, Ticket] = {}
    for number in range(400):
        if chance.random() < 0.02:
            room[0] = chance.choice(rooms)
        if open_tickets and chance.random() < 0.45:
            queue.leave(open_tickets.pop(chance.choice(list(open_tickets))), chance.choice(["done", "given_up"]))
        else:
            client = Client(chance.choice("ab"), chance.choice("xyz"))
            refused = lambda said, n=number: open_tickets.pop(n, None) if said else None  # noqa: E731
            try:
                open_tickets[number] = queue.enter(client, chance.choice([1.0, 5.0]), 60, refused)
            except Overloaded:
                continue
        assert queue.running + queue.waiting == len(open_tickets)
    for ticket in list(open_tickets.values()):
        queue.leave(ticket, "done")
    assert (queue.running, queue.waiting) == (0, 0)
    assert queue.enter(PEOPLE[0], 1.0, 60, lambda _: None).began is not None
