"""Who calls, and what all callers together have seen: every response of a run passes here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluations.chaos.corpus import CANARY, TENANTS, Tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """One person or program. `credentials` are sent as a bearer token; empty: nobody signs in."""

    tenant: Tenant = TENANTS[0]
    credentials: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What signs the caller in."""
        return {"Authorization": f"Bearer {self.credentials}"} if self.credentials else {}

    def forbidden(self, content: bytes) -> bool:
        """Whether something stands in there that this caller may not see."""
        marks = (each.mark for each in TENANTS if each != self.tenant)
        return any(word.encode() in content for word in (CANARY, *marks))


def in_turn(callers: Sequence[Caller], number: int) -> Caller:
    """The caller whose turn it is; nobody in particular where there are none."""
    return callers[number % len(callers)] if callers else Caller()


@dataclass(slots=True)
class Watch:
    """Counts over every response: those that hold the caller's own planted word, and those with a forbidden one.

    Without the former the latter would prove nothing. `receipts` are those of all whole answers. Thread-safe.
    """

    responses: int = 0
    own: int = 0
    foreign: int = 0
    receipts: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, caller: Caller, content: bytes, receipt: str = "") -> bool:
        """Count a response, whole or not. Returns whether something forbidden stood in it."""
        leaked = caller.forbidden(content)
        with self._lock:
            self.responses += 1
            self.own += caller.tenant.mark.encode() in content
            self.foreign += leaked
            if receipt:
                self.receipts.add(receipt)
        return leaked

    def counts(self) -> dict[str, int]:
        """The counts so far."""
        return {"responses": self.responses, "own": self.own, "foreign": self.foreign}
