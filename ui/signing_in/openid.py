"""Signing in at the bank's identity provider, and sessions that hold its tokens on the server.

State, nonce and code verifier wait in a signed cookie of the browser that began, for ten minutes: a code that another
browser was given is good for nothing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from chainlit.auth import create_jwt, get_configuration, set_auth_cookie
from chainlit.config import config
from chainlit.user import User
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, Router

from ui.client import ApiClient
from ui.credentials import SESSION
from ui.errors import BackendDown, BackendError, SignInNeeded
from ui.history.store import ConversationStore
from ui.signing_in.kept import KeptSessions
from ui.signing_in.provider import NAME, REFUSED, UNREACHABLE, Provider, Tokens

log = logging.getLogger(__name__)

BEGIN = f"/auth/oauth/{NAME}"  # where Chainlit's page sends a browser that wants to sign in
FINISH = f"{BEGIN}/callback"
COOKIE = "banksight_signing_in"
PATIENCE_SECONDS = 600  # for typing a password and a second factor at the provider
EARLY_SECONDS = 30  # a token that ends within this may end on its way


class TokenSessions(KeptSessions):
    """Sessions whose secret is what the provider gave: renewed in time, and taken back at the end."""

    def __init__(self, *given: Any, provider: Provider, client: ApiClient) -> None:
        super().__init__(*given)
        self._provider = provider
        self._client = client
        # A provider may take a refresh token that is used twice for a stolen one.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def bearer(self, session_id: str) -> str:
        """An access token that holds now. Raises SignInNeeded when there is none any more, BackendDown when the
        provider cannot be reached for a new one."""
        tokens = await self._tokens(session_id)
        if not self._ends(tokens):
            return tokens.access
        async with self._locks.setdefault(session_id, asyncio.Lock()):
            tokens = await self._tokens(session_id)  # another request may have renewed them meanwhile
            return (await self._renewed(session_id, tokens) if self._ends(tokens) else tokens).access

    async def end(self, session_id: str) -> None:
        """Forget a session; the API refuses its access token from now on, and the provider its refresh token."""
        with suppress(SignInNeeded):
            tokens = await self._tokens(session_id)
            await super().end(session_id)
            try:
                await self._client.log_out(tokens.access)
            except BackendError as problem:
                log.warning("access token not ended at the API: %s", type(problem).__name__)
            await self._provider.revoke(tokens)

    async def _tokens(self, session_id: str) -> Tokens:
        return Tokens.read(await self.secret(session_id))

    def _ends(self, tokens: Tokens) -> bool:
        return bool(tokens.refresh and tokens.ends) and tokens.ends - EARLY_SECONDS < self._clock()

    async def _renewed(self, session_id: str, tokens: Tokens) -> Tokens:
        try:
            fresh = await self._provider.renewed(tokens, self._clock())
        except REFUSED as problem:
            await super().end(session_id)
            raise SignInNeeded(f"the provider renews no more: {type(problem).__name__}") from problem
        except UNREACHABLE as problem:
            if self._clock() < tokens.ends:
                return tokens
            raise BackendDown(f"the identity provider does not answer: {type(problem).__name__}") from problem
        await self.replace(session_id, fresh.text())
        return fresh


class OpenIdLogin:
    """The routes of the chat for signing in at the provider."""

    def __init__(
        self,
        provider: Provider,
        sessions: TokenSessions,
        store: ConversationStore,
        client: ApiClient,
        clock: Callable[[], float],
        public_url: str,
    ) -> None:
        self._provider = provider
        self._sessions = sessions
        self._store = store
        self._client = client
        self._clock = clock
        self._back = f"{public_url}{FINISH}"

    def routes(self, session_secret: str) -> list[BaseRoute]:
        """To stand before Chainlit's."""
        ours = Router([Route(BEGIN, self.begin), Route(FINISH, self.finish)])
        remembering = SessionMiddleware(
            ours, session_secret, session_cookie=COOKIE, max_age=PATIENCE_SECONDS, path=BEGIN, same_site="lax"
        )
        return [Route(BEGIN, remembering), Route(FINISH, remembering), Route("/auth/config", configuration)]

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        try:
            return await self._provider.redirect(request, self._back)
        except (*REFUSED, UNREACHABLE) as problem:
            return _failed(problem)

    async def finish(self, request: Request) -> Response:
        """Take the browser back from the provider, with a session when all is right."""
        try:
            tokens, name = await self._provider.tokens(request, self._clock())
            person = await self._client.person(tokens.access)
        except (*REFUSED, UNREACHABLE, BackendError) as problem:
            return _failed(problem)
        identifier = f"{person.tenant}/{person.subject}"
        row = await asyncio.to_thread(self._store.ensure_user, identifier)
        seconds = config.project.user_session_timeout
        session_id = await self._sessions.begin(row["id"], tokens.text(), seconds)
        user = User(identifier=identifier, display_name=name or person.subject, metadata={SESSION: session_id})
        response = RedirectResponse("/login/callback?success=True", status_code=303)
        set_auth_cookie(request, response, create_jwt(user))
        return response


async def configuration(_: Request) -> Response:
    """What Chainlit's page asks before anybody has signed in, with our way to sign in."""
    return JSONResponse(get_configuration() | {"requireLogin": True, "oauthProviders": [NAME]})


def _failed(problem: Exception) -> Response:
    log.warning("sign-in failed: %s %.80r", type(problem).__name__, str(problem))
    return RedirectResponse("/login?error=oauthSignin", status_code=303)
