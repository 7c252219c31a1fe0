"""The key that somebody signed in with, kept in their own session: encrypted, and readable on every node of the chat.

Nothing on the server remembers it. Whoever has the cookie and not the session secret has an opaque text.
"""

from __future__ import annotations

import base64
import hashlib
from contextvars import ContextVar

from cryptography.fernet import Fernet, InvalidToken

# What the API is told about who asks: set for each request and socket, inherited by tasks. Empty where nobody signs in.
current_key: ContextVar[str] = ContextVar("current_key", default="")

PURPOSE = b"banksight-ui key in session"
SEALED = "sealed"  # the name in a session's metadata


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
