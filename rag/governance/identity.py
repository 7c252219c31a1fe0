"""From what a request carries to a `Principal`: nothing, a key or an access token, as `identity.mode` says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from rag.domain import Principal
from rag.errors import NotSignedIn, StorageUnavailable
from rag.governance.keys import ApiKey, KeyStore, read_pepper, split_key
from rag.governance.roles import expanded
from rag.governance.tokens import Token, TokenVerifier
from rag.settings import Settings

_LOOK_EVERY_SECONDS: Final = 0.5  # so that what is revoked counts nowhere a second later
_NOTE_USE_EVERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _View:
    """Keys by id and sign-outs, as they were in one generation."""

    generation: str = ""
    keys: dict[str, ApiKey] = field(default_factory=dict)
    signed_out: dict[str, int] = field(default_factory=dict)


class Grants:
    """The keys and sign-outs of the database, in memory and never older than a second. Thread-safe."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._view = _View()
        self._looked = float("-inf")
        self._noted = clock()
        self._used: set[str] = set()
        self._lock = threading.Lock()

    async def current(self) -> _View:
        """What counts now. Raises `StorageUnavailable`: what cannot be looked up does not count."""
        if self._clock() - self._looked > _LOOK_EVERY_SECONDS:
            await asyncio.to_thread(self.refresh)
        return self._view

    def refresh(self, look: str = "when due") -> None:
        """Look at the database, unless another thread just has or `look` is `now`."""
        with self._lock:
            if look != "now" and self._clock() - self._looked <= _LOOK_EVERY_SECONDS:
                return
            looked = self._clock()
            try:
                generation = self.store.generation()
                if generation != self._view.generation:
                    keys = {key.id: key for key in self.store.all()}
                    self._view = _View(generation, keys, self.store.sign_outs())
                if self._used and looked - self._noted > _NOTE_USE_EVERY_SECONDS:
                    self.note_use()
            except SQLAlchemyError as error:
                raise StorageUnavailable("the registry does not answer, so nobody can sign in; try again") from error
            self._looked = looked

    def used(self, key_id: str) -> None:
        """Remember that a key was used, for the next time that this is written down."""
        self._used.add(key_id)

    def note_use(self) -> None:
        """Write down which keys were used since the last time."""
        used, self._used, self._noted = self._used, set(), self._clock()
        if used:
            self.store.used(used)


class Authentication(Protocol):
    """Says who calls."""

    async def principal(self, authorization: str | None) -> Principal:
        """The caller, from the Authorization header. Raises `NotSignedIn` or `StorageUnavailable`."""

    async def sign_out(self, authorization: str | None) -> None:
        """Make what this header carries stop counting, everywhere within a second. Raises as `principal`."""

    def close(self) -> None:
        """Write down what was not yet."""


class OnePerson:
    """Mode `none`: everybody who gets here is the same person, whatever they send."""

    def __init__(self, person: Principal) -> None:
        self._person = person

    async def principal(self, authorization: str | None) -> Principal:  # noqa: ARG002
        """That person."""
        return self._person

    async def sign_out(self, authorization: str | None) -> None:
        """Nothing: nobody signed in."""

    def close(self) -> None:
        """Nothing to write down."""


class Authenticator:
    """Keys, and tokens where there is a verifier. Whatever is wrong is the same `NotSignedIn`: nobody learns what."""

    def __init__(self, grants: Grants, tokens: TokenVerifier | None = None) -> None:
        self._grants = grants
        self._tokens = tokens

    async def principal(self, authorization: str | None) -> Principal:
        """The caller, from the Authorization header. Raises `NotSignedIn` or `StorageUnavailable`."""
        found = await self._found(authorization)
        if isinstance(found, Token):
            return found.principal
        self._grants.used(found.id)
        return replace(found.principal, roles=expanded(found.roles))

    async def sign_out(self, authorization: str | None) -> None:
        """Make the key or token of this header stop counting, everywhere within a second. Raises as `principal`."""
        found = await self._found(authorization)
        store = self._grants.store
        if isinstance(found, Token):
            await asyncio.to_thread(store.sign_out, found.one, found.issued_at, found.expires_at)
        else:
            await asyncio.to_thread(store.revoke, found.id)
        await asyncio.to_thread(self._grants.refresh, "now")

    def close(self) -> None:
        """Write down which keys were used."""
        self._grants.note_use()

    async def _found(self, authorization: str | None) -> ApiKey | Token:
        scheme, _, text = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise NotSignedIn(presented=bool(scheme))
        parts = split_key(text)
        if parts is not None:
            return await self._key(*parts)
        if self._tokens is None:
            raise NotSignedIn(presented=True)
        token = await self._tokens.verify(text)
        signed_out = (await self._grants.current()).signed_out
        if any(token.issued_at <= signed_out.get(name, -1) for name in (token.one, token.all_of_subject)):
            raise NotSignedIn(presented=True)
        return token

    async def _key(self, key_id: str, secret: str) -> ApiKey:
        key = (await self._grants.current()).keys.get(key_id)
        if key is None or not self._grants.store.matches(key, secret) or key.state(time.time()) != "active":
            raise NotSignedIn(presented=True)
        return key


def local_principal(settings: Settings) -> Principal:
    """The one person of mode `none`, and the owner of the machine at its command line."""
    identity = settings.identity
    return Principal(identity.subject, settings.tenant, expanded(identity.roles), identity.clearances)


def open_key_store(settings: Settings, database: Engine) -> KeyStore:
    """The keys in this database. Raises `ConfigurationError` when the pepper cannot be read."""
    return KeyStore(database, read_pepper(settings.identity.keys.pepper.get_secret_value(), settings.data_dir))


def open_authentication(settings: Settings, database: Engine) -> Authentication:
    """What these settings say about who may call. Raises `ConfigurationError`."""
    identity = settings.identity
    if identity.mode == "none":
        return OnePerson(local_principal(settings))
    tokens = TokenVerifier(identity.oidc, settings.tenant) if identity.mode == "oidc" else None
    return Authenticator(Grants(open_key_store(settings, database)), tokens)
