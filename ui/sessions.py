"""Sessions of the browser: whom a request's cookie stands for, and an end to a session that was signed out.

Chainlit keeps no list of its sessions: a token counts until it expires, whatever the person did. Here a token that was
signed out is taken off each request before Chainlit sees it, on every process that shares the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

import jwt
from chainlit.auth import get_token_from_cookies
from chainlit.auth.cookie import clear_auth_cookie
from chainlit.auth.jwt import get_jwt_secret
from chainlit.server import sio
from chainlit.session import ws_sessions_sid
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.credentials import SEALED, current_key, unseal
from ui.guests import GUEST
from ui.history.store import ConversationStore
from ui.person import current_person

log = logging.getLogger(__name__)
Clock = Callable[[], float]
STATIC = ("/public/", "/assets/", "/health")
ALGORITHM = "HS256"  # the one that Chainlit signs with


class Sessions:
    """The session tokens that count: signed by us, not expired, not signed out."""

    def __init__(self, store: ConversationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def session(self, token: str) -> tuple[str, str]:
        """The identifier of the person whose session this is, and the key that they signed in with, if any.

        Both are empty when the session does not count.
        """
        claims = _claims(token)
        if claims is None or await asyncio.to_thread(self._store.is_signed_out, _digest(token)):
            return "", ""
        metadata = claims.get("metadata")
        sealed = metadata.get(SEALED) if isinstance(metadata, dict) else None
        return str(claims.get("identifier") or ""), unseal(sealed, get_jwt_secret() or "")

    async def sign_out(self, token: str) -> None:
        """End a session: its token counts no more, and its open sockets close."""
        if (claims := _claims(token)) is None:
            return
        await asyncio.to_thread(self._store.sign_out, _digest(token), int(str(claims["exp"])), int(self._clock()))
        for sid, session in list(ws_sessions_sid.items()):
            if session.token == token:
                await sio.disconnect(sid)
                await session.delete()
        person = str(claims.get("identifier") or "")
        if person.startswith(GUEST):
            await asyncio.to_thread(self._store.delete_user, person)

    async def log_out(self, request: Request) -> Response:
        """Chainlit's `/logout`, for real."""
        token = get_token_from_cookies(request.cookies)
        if token:
            await self.sign_out(token)
        response = JSONResponse({"success": True})
        clear_auth_cookie(request, response)
        return response


class Identify:
    """ASGI middleware: sets `current_person`, and hides from Chainlit every token that does not count.

    Only the cookie counts. Chainlit would also take a token in `Authorization`, where no deny-list reaches it.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, with the person beside it."""
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(STATIC):
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        cookies = cookie_parser("; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie"))
        person = key = ""
        if token := get_token_from_cookies(cookies):
            person, key = await self._sessions.session(token)
            if not person:
                headers = [(name, value) for name, value in headers if name != b"cookie"]
        current_person.set(person)
        current_key.set(key)
        await self._app({**scope, "headers": headers}, receive, send)


def _claims(token: str | None) -> dict[str, object] | None:
    try:
        options = jwt.types.Options(require=["exp", "iat"])
        return dict(jwt.decode(token or "", get_jwt_secret() or "", algorithms=[ALGORITHM], options=options))
    except jwt.InvalidTokenError:
        return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
