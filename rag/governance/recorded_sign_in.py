"""Signing in and out, with a receipt: the first time that a process sees a key or token, and when it is ended."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Final

from rag.domain import Principal
from rag.governance.identity import Authentication, OnePerson
from rag.governance.receipts import Receipts

_MOST_SEEN: Final = 10_000
_SEEN_SECONDS: Final = 12 * 3600.0  # a key that is used all the time signs in twice a day


class RecordedAuthentication:
    """Says who calls as another does, and records who signs in and out."""

    def __init__(self, inner: Authentication, receipts: Receipts) -> None:
        self._inner = inner
        self._receipts = receipts
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    async def principal(self, authorization: str | None) -> Principal:
        """The caller. Raises as the other does, and `StorageUnavailable` where a sign-in cannot be recorded."""
        caller = await self._inner.principal(authorization)
        name = hashlib.sha256((authorization or "").encode()).digest()
        now = time.monotonic()
        if self._seen.get(name, 0.0) < now:
            await self._receipts.recorded("login", caller)
            self._seen[name] = now + _SEEN_SECONDS
            while len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
        return caller

    async def sign_out(self, authorization: str | None) -> None:
        """End what this header carries. Raises as `principal`."""
        caller = await self._inner.principal(authorization)
        await self._receipts.recorded("logout", caller)
        await self._inner.sign_out(authorization)

    def close(self) -> None:
        """See the other."""
        self._inner.close()


def recorded_authentication(inner: Authentication, receipts: Receipts) -> Authentication:
    """With receipts where people sign in; the one person of mode `none` never does."""
    return inner if isinstance(inner, OnePerson) else RecordedAuthentication(inner, receipts)
