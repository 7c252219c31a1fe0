"""Sessions that the server remembers: what stands for a person at the API never leaves it, and can be ended here.

The browser's token names such a session by id. Where its row is gone, the token counts no more.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from sqlalchemy import Engine, delete, insert, select, update

from ui.credentials import seal, unseal
from ui.errors import SignInNeeded
from ui.history.schema import sessions


class KeptSessions:
    """Sessions in the chat's database, whose secrets are encrypted under the session secret.

    For a password the secret is the person's key of the API. `ui.signing_in.openid` keeps tokens.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float], session_secret: str) -> None:
        self._engine = engine
        self._clock = clock
        self._session_secret = session_secret

    async def begin(self, user_id: str, secret: str, seconds: float, account: str | None = None) -> str:
        """Remember a new session and return its id."""
        return await asyncio.to_thread(self._begin, user_id, secret, seconds, account)

    async def counts(self, session_id: str) -> bool:
        """Whether this session is still there."""
        return await asyncio.to_thread(self._sealed, session_id) is not None

    async def bearer(self, session_id: str) -> str:
        """What stands for the person at the API now. Raises SignInNeeded when the session has ended."""
        return await self.secret(session_id)

    async def secret(self, session_id: str) -> str:
        """What is kept for a session. Raises SignInNeeded when it has ended."""
        secret = unseal(await asyncio.to_thread(self._sealed, session_id), self._session_secret)
        if not secret:
            raise SignInNeeded("the session has ended")
        return secret

    async def replace(self, session_id: str, secret: str) -> None:
        """Keep another secret for a session; an ended one stays ended."""
        await asyncio.to_thread(self._replace, session_id, secret)

    async def end(self, session_id: str) -> None:
        """Forget a session."""
        await asyncio.to_thread(self._end, session_id)

    def _begin(self, user_id: str, secret: str, seconds: float, account: str | None) -> str:
        time, session_id = int(self._clock()), uuid.uuid4().hex
        row = {
            "id": session_id,
            "userId": user_id,
            "account": account,
            "sealed": seal(secret, self._session_secret),
            "expiresAt": time + int(seconds),
        }
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.expiresAt < time))
            connection.execute(insert(sessions).values(row))
        return session_id

    def _sealed(self, session_id: str) -> str | None:
        wanted = (sessions.c.id == session_id) & (sessions.c.expiresAt >= int(self._clock()))
        with self._engine.connect() as connection:
            return connection.execute(select(sessions.c.sealed).where(wanted)).scalar_one_or_none()

    def _replace(self, session_id: str, secret: str) -> None:
        with self._engine.begin() as connection:
            mine = sessions.c.id == session_id
            connection.execute(update(sessions).where(mine).values(sealed=seal(secret, self._session_secret)))

    def _end(self, session_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == session_id))
