"""What a caller is told about its limits: headers on every answer, and 429 when one is used up."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from bentos.problems import Problem
from rag.operations import telemetry
from rag.operations.limits import Standing, Unit

_CODES: Final[dict[Unit, str]] = {"requests": "rate_limited", "tokens": "quota_exceeded"}


def used_up(standings: Sequence[Standing], chance: random.Random) -> Problem:
    """The answer to one who is at a limit, which is the last of these."""
    limit, pause = standings[-1].limit, retry_after(standings[-1].reset_seconds, chance)
    code = _CODES[limit.unit]
    telemetry.ADMISSION_REJECTED.labels(code).inc()
    allowed = f"{limit.amount:,} requests a minute" if limit.unit == "requests" else f"{limit.amount:,} tokens a day"
    detail = f"You may have {allowed}, and they are used up; try again in {_in_words(pause)}."
    return Problem(429, code, detail, {"Retry-After": str(pause), **rate_headers(standings)})


def rate_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """The limit that is closest to its end, as `RateLimit-…` headers (draft-ietf-httpapi-ratelimit-headers-07)."""
    if not standings:
        return {}
    closest = min(standings, key=lambda each: (each.verdict == "admitted", each.remaining / each.limit.amount))
    return {
        "RateLimit-Limit": str(closest.limit.amount),
        "RateLimit-Remaining": str(closest.remaining),
        "RateLimit-Reset": str(math.ceil(closest.reset_seconds)),
        "RateLimit-Policy": ", ".join(f"{each.limit.amount};w={each.limit.seconds}" for each in standings),
    }


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """`send`, with these headers on the response."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sent if headers else send


def retry_after(seconds: float, chance: random.Random) -> int:
    """Whole seconds, one at least, spread so that those who were refused together do not come back together."""
    return max(1, math.ceil(seconds)) + chance.randint(0, max(1, math.ceil(seconds / 2)))


def _in_words(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{math.ceil(seconds / 60)} minutes"
