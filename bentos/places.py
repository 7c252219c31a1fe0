"""The place of one question: taken when it turns out that it must be answered anew, and kept to its last byte."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from starlette.types import Message, Send

from bentos.fair_queue import Client, FairQueue, Overloaded, Ticket
from rag.errors import Full
from rag.operations import deadline, telemetry
from rag.operations.limits import note_at_least
from rag.settings import Settings


@dataclass(slots=True, eq=False)
class Place:
    """A question's way to a slot of `queue`. `refusal` says to the caller why there is none."""

    queue: FairQueue
    client: Client
    cost: float  # estimated, in tokens
    settings: Settings
    refusal: Callable[[Overloaded], Full]
    _ticket: Ticket | None = None
    _outcome: Literal["done", "given_up"] = "given_up"
    _status: int = 0

    async def take(self) -> None:
        """Return when the question has its slot. Raises `Full`. A second call returns at once."""
        if self._ticket is not None:
            return
        called: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()

        def call(said: Overloaded | None) -> None:
            if not called.done():
                called.set_result(said)

        try:
            seconds = deadline.remaining(self.settings.server.deadline_seconds)
            self._ticket = self.queue.enter(self.client, self.cost, seconds, call)
        except Overloaded as full:
            raise self.refusal(full) from None
        if self._ticket.began is None and (refused := await self._called(called)):
            raise self.refusal(refused)

    async def _called(self, called: asyncio.Future[Overloaded | None]) -> Overloaded | None:
        """What the queue says in the end; a refusal when patience is over."""
        clock = asyncio.get_running_loop().time
        began = clock()
        patience = min(self.settings.admission.queue_seconds, deadline.remaining(math.inf))
        telemetry.ADMISSION_WAITING.inc()
        try:
            async with asyncio.timeout(patience):
                return await called
        except TimeoutError:
            return Overloaded("full", self.queue.expected_seconds())
        finally:
            telemetry.ADMISSION_WAITING.dec()
            telemetry.ADMISSION_SECONDS.observe(clock() - began)

    def watching(self, send: Send) -> Send:
        """`send`, which sees whether the answer goes out whole."""

        async def sent(message: Message) -> None:
            self._status = message.get("status", self._status)
            await send(message)
            whole = message["type"] == "http.response.body" and not message.get("more_body")
            if whole and self._status == HTTPStatus.OK:
                self._outcome = "done"

        return sent

    def give_back(self) -> None:
        """Give the slot, or the place in the queue, to the next. What was begun for one who left counts as used."""
        if self._ticket is None:
            return
        self.queue.leave(self._ticket, self._outcome)
        if self._outcome == "given_up" and self._status == HTTPStatus.OK:
            note_at_least(int(self.cost))
