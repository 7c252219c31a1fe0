"""Who somebody is where nobody signs in: the one person of this machine, or a guest from elsewhere.

A guest's conversations are theirs while their session lasts, and are deleted with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

THE_ONE_PERSON = "local"
GUEST = "guest-"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OF_A_PROXY = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})


def newcomer(headers: Mapping[str, str], *, listens_on_loopback: bool) -> str:
    """The identifier of who comes without a session. Names in `headers` are in lower case.

    A name of the network that points at this machine, and a proxy in front, both mean that it may be anybody.
    """
    host = urlsplit(f"//{headers.get('host', '')}").hostname
    here = listens_on_loopback and host in LOOPBACK and not OF_A_PROXY & set(headers)
    return THE_ONE_PERSON if here else f"{GUEST}{uuid.uuid4()}"


def forgotten_since(now: datetime, session_seconds: float) -> str:
    """Guests who came before this, in Chainlit's way of writing, have no session any more."""
    before = now.astimezone(UTC) - timedelta(seconds=session_seconds)
    return before.isoformat(timespec="microseconds").replace("+00:00", "Z")
