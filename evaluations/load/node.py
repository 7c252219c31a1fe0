"""One node of the capacity model: a bounded queue, slots, one card that decodes all slots together.

Between two events every decoding sequence advances by the same number of tokens, so one clock that counts tokens
serves all of them: a sequence ends when that clock reaches what it showed at its start plus its length.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from math import inf

from evaluations.load.cards import Card


@dataclass(frozen=True, slots=True)
class Work:
    """What an answer asks of the engine, in tokens; and the product's own time around it, in seconds."""

    prompt: float = 700.0
    output: float = 120.0
    own_seconds: float = 0.15


@dataclass(frozen=True, slots=True)
class Door:
    """How many may wait at a node, and how long at most: `admission.queue` and `admission.queue_seconds`."""

    queue: int = 32
    seconds: float = 4.0


@dataclass(slots=True)
class Node:
    """Requests are numbers. `now` is in seconds; it never goes back."""

    card: Card
    work: Work
    door: Door
    now: float = 0.0
    tokens: float = 0.0
    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    prompts: deque[int] = field(default_factory=deque)
    prompt_left: float = 0.0
    decoding: list[tuple[float, int]] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Requests that wait or run: what `least_conn` looks at."""
        return len(self.waiting) + self.running

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return len(self.prompts) + len(self.decoding)

    def offer(self, request: int) -> bool:
        """Take a request, or turn it away because it would wait for too long."""
        ahead = len(self.waiting) + 1
        expected = ahead * self.card.answer_seconds(self.work.prompt, self.work.output) / self.card.slots
        if self.running >= self.card.slots and (ahead > self.door.queue or expected > self.door.seconds):
            return False
        self.waiting.append((request, self.now))
        self._fill()
        return True

    def next_event(self) -> float:
        """When a prompt or an answer is finished next."""
        if self.prompts:
            return self.now + self.prompt_left
        if self.decoding:
            return self.now + max(0.0, self.decoding[0][0] - self.tokens) * self._step()
        return inf

    def advance(self, now: float) -> None:
        """Let the time pass until `now`, which is not after the next event."""
        passed, self.now = now - self.now, now
        if self.prompts:
            self.prompt_left -= passed
        elif self.decoding:
            self.tokens += passed / self._step()

    def finish(self) -> int | None:
        """Do what is due now; the request that is answered, if one is."""
        if self.prompts:
            self._begin(self.prompts.popleft())
            self.prompt_left = self.card.prompt_seconds(self.work.prompt)
            return None
        ends, request = heapq.heappop(self.decoding)
        self.tokens = max(self.tokens, ends)
        self._fill()
        return request

    def give_up(self) -> list[int]:
        """Those who have waited for as long as one may."""
        gone = []
        while self.waiting and self.now - self.waiting[0][1] >= self.door.seconds:
            gone.append(self.waiting.popleft()[0])
        return gone

    def _fill(self) -> None:
        while self.waiting and self.running < self.card.slots:
            request, _ = self.waiting.popleft()
            if self.card.flops is None:
                self._begin(request)
                continue
            if not self.prompts:
                self.prompt_left = self.card.prompt_seconds(self.work.prompt)
            self.prompts.append(request)

    def _begin(self, request: int) -> None:
        """Decode from now on. Time to a first token that bothers nobody counts as tokens."""
        more = self.card.first_seconds / self.card.floor_seconds
        heapq.heappush(self.decoding, (self.tokens + self.work.output + more, request))

    def _step(self) -> float:
        return self.card.step_seconds(len(self.decoding), self.work.prompt + self.work.output / 2)
