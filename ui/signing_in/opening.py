"""Tells Chainlit how people sign in, as the settings say."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import chainlit as cl
from chainlit.auth.jwt import get_jwt_secret
from chainlit.config import config
from chainlit.user import User
from sqlalchemy import Engine
from starlette.routing import BaseRoute

from ui.client import ApiClient
from ui.credentials import SEALED, SESSION, seal, unseal
from ui.errors import BackendError
from ui.guests import GUEST, forgotten_since, newcomer
from ui.history.store import ConversationStore
from ui.settings import UiSettings
from ui.signing_in.kept import KeptSessions
from ui.wire import Person

log = logging.getLogger(__name__)
AT_ONCE = 2  # passwords checked at the same time: each takes 64 MiB and a core


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the rest of the chat needs to know of a way to sign in."""

    kept: KeptSessions | None = None
    routes: list[BaseRoute] = field(default_factory=list)
    open_paths: frozenset[str] = frozenset()


def open_sign_in(settings: UiSettings, client: ApiClient, engine: Engine, store: ConversationStore) -> SignIn:
    """Register what Chainlit calls when somebody signs in."""
    if settings.ui_login == "none":
        _nobody_signs_in(settings, store)
    elif settings.ui_login == "key":
        _with_a_key(client)
    elif settings.ui_login == "password":
        return _with_a_password(client, engine, store)
    else:
        return _at_the_provider(settings, client, engine, store)
    return SignIn()


def _nobody_signs_in(settings: UiSettings, store: ConversationStore) -> None:
    @cl.header_auth_callback
    async def sign_in(headers: Mapping[str, str]) -> User:
        gone = forgotten_since(datetime.now(UTC), config.project.user_session_timeout)
        await asyncio.to_thread(store.delete_users, GUEST, gone)
        return User(identifier=newcomer(headers, listens_on_loopback=settings.ui_listens == "loopback"))


def _with_a_key(client: ApiClient) -> None:
    @cl.password_auth_callback
    async def sign_in(_name: str, key: str) -> User | None:
        if (person := await _owner(client, key)) is None:
            return None
        return _user(person, {SEALED: seal(key, get_jwt_secret() or "")})


def _with_a_password(client: ApiClient, engine: Engine, store: ConversationStore) -> SignIn:
    from ui.signing_in.accounts import AccountStore  # noqa: PLC0415 - argon2 is needed here only

    secret = get_jwt_secret() or ""
    accounts, kept = AccountStore(engine, time.time), KeptSessions(engine, time.time, secret)
    places = asyncio.Semaphore(AT_ONCE)

    @cl.password_auth_callback
    async def sign_in(name: str, password: str) -> User | None:
        async with places:
            account = await asyncio.to_thread(accounts.signed_in, name, password)
        if account is None:
            log.warning("sign-in refused: name or password is wrong, or has to wait")
            return None
        key = unseal(account.sealed, secret)
        if (person := await _owner(client, key)) is None:
            log.warning("the key kept for an account does not count: `users key` gives it another")
            return None
        row = await asyncio.to_thread(store.ensure_user, _identifier(person))
        session_id = await kept.begin(row["id"], key, config.project.user_session_timeout, account.name)
        return _user(person, {SESSION: session_id})

    return SignIn(kept)


def _at_the_provider(settings: UiSettings, client: ApiClient, engine: Engine, store: ConversationStore) -> SignIn:
    from ui.signing_in.openid import BEGIN, FINISH, OpenIdLogin, TokenSessions  # noqa: PLC0415 - Authlib is needed
    from ui.signing_in.provider import Provider  # noqa: PLC0415 - here only

    os.environ["CHAINLIT_CUSTOM_AUTH"] = "1"  # Chainlit's word for: people sign in, but not by one of its own ways
    secret = get_jwt_secret() or ""
    provider = Provider(settings)
    kept = TokenSessions(engine, time.time, secret, provider=provider, client=client)
    login = OpenIdLogin(provider, kept, store, client, time.time, settings.ui_public_url.rstrip("/"))
    return SignIn(kept, login.routes(secret), frozenset({BEGIN, FINISH}))


async def _owner(client: ApiClient, key: str) -> Person | None:
    """The person whom the API takes this key for; None when it takes it for nobody's."""
    if not key or not key.isascii() or not key.isprintable():
        return None
    try:
        return await client.person(key)
    except BackendError as problem:
        log.warning("sign-in refused: %s", type(problem).__name__)
        return None


def _user(person: Person, metadata: dict[str, str]) -> User:
    return User(identifier=_identifier(person), display_name=person.subject, metadata=metadata)


def _identifier(person: Person) -> str:
    return f"{person.tenant}/{person.subject}"
