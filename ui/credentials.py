"""What stands for a person at the API: a key or an access token, encrypted wherever it is kept.

Whoever has the cookie, or the database, and not the session secret has an opaque text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from cryptography.fernet import Fernet, InvalidToken

# Gives what stands for the person now, empty where nobody signs in. Asked anew for each request to the API, because a
# socket lives longer than an access token, and than many a session. May raise SignInNeeded.
Bearer = Callable[[], Awaitable[str]]

PURPOSE = b"banksight-ui key in session"
SEALED = "sealed"  # the name in a session's metadata: the key itself, encrypted
SESSION = "session"  # or the id of a session that the server keeps


def always(key: str) -> Bearer:
    """The same key each time."""

    async def bearer() -> str:
        return key

    return bearer


NOBODYS = always("")
# Set for each request and socket, inherited by tasks.
current_bearer: ContextVar[Bearer] = ContextVar("current_bearer", default=NOBODYS)


def seal(key: str, session_secret: str) -> str:
    """The key as it stands in a session."""
    return _box(session_secret).encrypt(key.encode()).decode()


def unseal(sealed: object, session_secret: str) -> str:
    """The key of a session; empty when there is none, or another secret sealed it."""
    try:
        return _box(session_secret).decrypt(sealed if isinstance(sealed, str) else b"").decode()
    except InvalidToken:
        return ""


def _box(session_secret: str) -> Fernet:
    # The secret is random and long, so one keyed hash separates this use from the signature of sessions.
    digest = hashlib.blake2b(PURPOSE, key=session_secret.encode()[:64], digest_size=32).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
