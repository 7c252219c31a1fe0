"""Who is next: a bounded queue that serves tenants in turn, and within each tenant its people in turn.

Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996), once over tenants and once over the people of each. What is
shared out is cost, in tokens, so that many short questions weigh as much as few long ones. When the queue is full, the
longest queue gives way (McKenney: INFOCOM 1990): whoever waits with most is told to come back, not who comes next.

Nothing here waits or looks at a clock by itself, so that a test can run an hour of it in a moment.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Reason = Literal["over_share", "full", "deadline"]

_REMEMBERED: Final = 0.1  # weight of the newest measurement in the running mean of what a token takes


class Client(NamedTuple):
    """For whom a request is."""

    tenant: str
    subject: str


@dataclass(frozen=True, slots=True)
class Room:
    """How many may run, how many of them one person may have, how many may wait and for how many seconds."""

    slots: int
    user_slots: int
    queue: int
    queue_seconds: float


class Overloaded(Exception):
    """Why a request gets no place. After `seconds` there will probably be one."""

    def __init__(self, reason: Reason, seconds: float) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.seconds = seconds


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that runs or waits. `called` is told, once, when a waiting one may run, or why it may not."""

    client: Client
    cost: float
    called: Callable[[Overloaded | None], None]
    came: float
    began: float | None = None


class _Turns:
    """Start-time fair queueing over names: whoever got the least is next; who comes back has saved nothing up."""

    def __init__(self) -> None:
        self._taken: dict[str, float] = {}
        self._now = 0.0

    def join(self, name: str) -> None:
        self._taken[name] = max(self._taken.get(name, 0.0), self._now)

    def first(self, names: Iterable[str]) -> str:
        return min(names, key=lambda name: self._taken.get(name, 0.0))

    def charge(self, name: str, cost: float) -> None:
        self._now = max(self._now, self._taken.get(name, 0.0))
        self._taken[name] = self._taken.get(name, 0.0) + cost


class FairQueue:
    """Places for requests. `room` is asked at every decision, so that it may change at any time."""

    def __init__(self, room: Callable[[], Room], now: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._now = now
        self._running: set[Ticket] = set()
        self._waiting: dict[str, dict[str, deque[Ticket]]] = {}
        self._tenants = _Turns()
        self._people: dict[str, _Turns] = {}
        self._seconds_per_cost: float | None = None

    @property
    def running(self) -> int:
        """Requests that have a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return sum(len(each) for people in self._waiting.values() for each in people.values())

    def enter(self, client: Client, cost: float, seconds: float, called: Callable[[Overloaded | None], None]) -> Ticket:
        """A place for a request that must be done within `seconds`: `began` is set if it may run at once.

        Raises `Overloaded`; for somebody else it may take the place of one who waits with more.
        """
        room = self._room()
        ticket = Ticket(client, cost, called, self._now())
        if not self._waiting and len(self._running) < room.slots and self._held(client) < room.user_slots:
            self._join(client)
            self._start(ticket)
            return ticket
        wait = self._expected_wait(client, cost, room)
        if self._too_long(wait, cost, seconds, room):
            raise Overloaded("over_share" if self._over_share(client, room) else "deadline", wait)
        if self.waiting >= room.queue:
            self._make_place(client, wait)
        self._join(client)
        self._waiting.setdefault(client.tenant, {}).setdefault(client.subject, deque()).append(ticket)
        self._call_next()
        return ticket

    def over_share(self, client: Client, cost: float, seconds: float) -> Overloaded | None:
        """Why `enter` would refuse a request now, if that is because this client has more than its share already."""
        room = self._room()
        if not self._over_share(client, room):
            return None
        wait = self._expected_wait(client, cost, room)
        return Overloaded("over_share", wait) if self._too_long(wait, cost, seconds, room) else None

    def leave(self, ticket: Ticket, outcome: Literal["done", "given_up"]) -> None:
        """Give the place back, from the queue too. Only what was done tells how long things take."""
        if ticket in self._running:
            self._running.remove(ticket)
            if outcome == "done" and ticket.began is not None and ticket.cost:
                self._measure((self._now() - ticket.began) / ticket.cost)
        else:
            self._take_out(ticket)
        self._call_next()

    def expected_seconds(self) -> float:
        """How long everything that waits now will probably take."""
        everything = sum(each.cost for each in self._everybody())
        return everything * (self._seconds_per_cost or 0.0) / self._room().slots

    def _too_long(self, wait: float, cost: float, seconds: float, room: Room) -> bool:
        return wait > room.queue_seconds or wait + cost * (self._seconds_per_cost or 0.0) > seconds

    def _held(self, client: Client) -> int:
        return sum(1 for each in self._running if each.client == client)

    def _over_share(self, client: Client, room: Room) -> bool:
        """Whether one more would be more than an equal share of the places, or than one person may have."""
        here = [*self._running, *self._everybody()]
        clients = {each.client for each in here} | {client}
        mine = sum(1 for each in here if each.client == client)
        equal = len(clients) > 1 and mine >= (room.slots + room.queue) / len(clients)
        return equal or (room.user_slots < room.slots and self._held(client) >= room.user_slots)

    def _everybody(self) -> Iterable[Ticket]:
        return (each for people in self._waiting.values() for queue in people.values() for each in queue)

    def _join(self, client: Client) -> None:
        people = self._waiting.get(client.tenant, {})
        if not people:
            self._tenants.join(client.tenant)
        if client.subject not in people:
            self._people.setdefault(client.tenant, _Turns()).join(client.subject)

    def _start(self, ticket: Ticket) -> None:
        ticket.began = self._now()
        self._running.add(ticket)
        self._tenants.charge(ticket.client.tenant, ticket.cost)
        self._people.setdefault(ticket.client.tenant, _Turns()).charge(ticket.client.subject, ticket.cost)

    def _call_next(self) -> None:
        room = self._room()
        while len(self._running) < room.slots and (ready := self._ready(room.user_slots)):
            tenant = self._tenants.first(ready)
            subject = self._people[tenant].first(ready[tenant])
            ticket = self._waiting[tenant][subject][0]
            self._take_out(ticket)
            self._start(ticket)
            ticket.called(None)
        if not self._waiting and not self._running:  # a new period begins, and what is remembered stays bounded
            self._tenants, self._people = _Turns(), {}

    def _ready(self, user_slots: int) -> dict[str, list[str]]:
        """Those who wait and may run one more, by tenant."""
        found = {
            tenant: [each for each in people if self._held(Client(tenant, each)) < user_slots]
            for tenant, people in self._waiting.items()
        }
        return {tenant: people for tenant, people in found.items() if people}

    def _take_out(self, ticket: Ticket) -> None:
        tenant, subject = ticket.client
        people = self._waiting.get(tenant, {})
        if ticket not in people.get(subject, ()):
            return
        people[subject].remove(ticket)
        if not people[subject]:
            del people[subject]
        if not people:
            del self._waiting[tenant]

    def _make_place(self, client: Client, wait: float) -> None:
        """Send away the newest request of whoever waits with most. Raises `Overloaded` when that is this client."""
        sizes = {tenant: {name: len(each) for name, each in people.items()} for tenant, people in self._waiting.items()}
        own = sizes.setdefault(client.tenant, {})
        own[client.subject] = own.get(client.subject, 0) + 1
        totals = {tenant: sum(people.values()) for tenant, people in sizes.items()}
        tenant = max(totals, key=lambda name: (totals[name], name == client.tenant))
        people = sizes[tenant]
        subject = max(people, key=lambda name: (people[name], name == client.subject))
        alone = len({each.client for each in (*self._running, *self._everybody())} | {client}) == 1
        over = not alone and (people[subject] > 1 or (len(totals) > 1 and totals[tenant] > 1))
        refusal = Overloaded("over_share" if over else "full", max(wait, self.expected_seconds()))
        if (tenant, subject) == client:
            raise refusal
        victim = self._waiting[tenant][subject][-1]
        self._take_out(victim)
        victim.called(refusal)

    def _expected_wait(self, client: Client, cost: float, room: Room) -> float:
        """Seconds until a new request of this client runs: what is served before it, and what is left of what runs."""
        tenants = {
            tenant: {name: sum(each.cost for each in queue) for name, queue in people.items()}
            for tenant, people in self._waiting.items()
        }
        people = dict(tenants.pop(client.tenant, {}))
        own = people.pop(client.subject, 0.0) + cost
        tenant = own + sum(min(each, own) for each in people.values())
        total = tenant + sum(min(sum(each.values()), tenant) for each in tenants.values())
        mine = [each for each in self._running if each.client == client]
        return max(
            self._next_free(self._running, room.slots, total - cost, cost),
            self._next_free(mine, room.user_slots, own - cost, cost),
        )

    def _next_free(self, running: Iterable[Ticket], slots: int, ahead: float, cost: float) -> float:
        """Seconds until one of so many slots is free, with so much cost ahead in requests as large as this one."""
        ends = sorted(self._left(each) for each in running)
        free = [0.0] * (slots - len(ends)) + ends[-slots:]
        while ahead > 0 and cost > 0:
            heapq.heapreplace(free, free[0] + min(ahead, cost))
            ahead -= cost
        return free[0] * (self._seconds_per_cost or 0.0)

    def _left(self, ticket: Ticket) -> float:
        """The cost of what a running request has still to do."""
        if not self._seconds_per_cost or ticket.began is None:
            return ticket.cost
        return max(0.0, ticket.cost - (self._now() - ticket.began) / self._seconds_per_cost)

    def _measure(self, seconds_per_cost: float) -> None:
        known = self._seconds_per_cost
        self._seconds_per_cost = seconds_per_cost if known is None else known + _REMEMBERED * (seconds_per_cost - known)
