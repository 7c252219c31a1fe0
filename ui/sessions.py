"""Sessions of the browser: whom a request's cookie stands for, and an end to a session that was signed out.

Chainlit keeps no list of its sessions: a token counts until it expires, whatever the person did. Here a token that was
signed out is taken off each request before Chainlit sees it, on every process that shares the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from functools import partial

import jwt
from chainlit.auth import get_token_from_cookies
from chainlit.auth.cookie import clear_auth_cookie
from chainlit.auth.jwt import get_jwt_secret
from chainlit.server import sio
from chainlit.session import ws_sessions_sid
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.credentials import NOBODYS, SEALED, SESSION, Bearer, always, current_bearer, unseal
from ui.guests import GUEST
from ui.history.store import ConversationStore
from ui.person import current_person
from ui.signing_in.kept import KeptSessions

log = logging.getLogger(__name__)
Clock = Callable[[], float]
STATIC = ("/public/", "/assets/", "/health")
ALGORITHM = "HS256"  # the one that Chainlit signs with


class Sessions:
    """The session tokens that count: signed by us, not expired, not signed out."""

    def __init__(self, store: ConversationStore, clock: Clock, kept: KeptSessions | None = None) -> None:
        """`kept` are the sessions whose secrets stay on the server; without it a token that names one counts not."""
        self._store = store
        self._clock = clock
        self._kept = kept

    async def session(self, token: str) -> tuple[str, Bearer]:
        """The identifier of whose session this is, and what stands for them; both empty when it does not count."""
        claims = _claims(token)
        if claims is None or await asyncio.to_thread(self._store.is_signed_out, _digest(token)):
            return "", NOBODYS
        person, metadata = str(claims.get("identifier") or ""), _metadata(claims)
        if SESSION not in metadata:
            return person, always(unseal(metadata.get(SEALED), get_jwt_secret() or ""))
        session_id = str(metadata[SESSION])
        if self._kept is None or not await self._kept.counts(session_id):
            return "", NOBODYS
        return person, partial(self._kept.bearer, session_id)

    async def sign_out(self, token: str) -> None:
        """End a session: its token counts no more, and its open sockets close."""
        if (claims := _claims(token)) is None:
            return
        await asyncio.to_thread(self._store.sign_out, _digest(token), int(str(claims["exp"])), int(self._clock()))
        if self._kept is not None and SESSION in (metadata := _metadata(claims)):
            await self._kept.end(str(metadata[SESSION]))
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
        person, bearer = "", NOBODYS
        if token := get_token_from_cookies(cookies):
            person, bearer = await self._sessions.session(token)
            if not person:
                headers = [(name, value) for name, value in headers if name != b"cookie"]
        current_person.set(person)
        current_bearer.set(bearer)
        await self._app({**scope, "headers": headers}, receive, send)


def _claims(token: str | None) -> dict[str, object] | None:
    try:
        options = jwt.types.Options(require=["exp", "iat"])
        return dict(jwt.decode(token or "", get_jwt_secret() or "", algorithms=[ALGORITHM], options=options))
    except jwt.InvalidTokenError:
        return None


def _metadata(claims: dict[str, object]) -> dict[str, object]:
    metadata = claims.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
