"""Keys of programs: `bsk_<id>.<secret>`, of which the database holds only an HMAC under a pepper.

A secret is 256 random bits, so that a slow hash would gain nothing; the pepper, which is not in the database, keeps
whoever can write there from making keys of their own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from rag.domain import Principal
from rag.errors import ConfigurationError, NotFound
from rag.storage.schema import api_keys, signed_out, state

GRANTS: Final = "grants"  # key of the registry's state table; its value changes whenever keys or sign-outs do
_KEY: Final = re.compile(r"bsk_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
_PEPPER_FILE: Final = "key-pepper"

KeyState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. Times are seconds since 1970."""

    id: str
    name: str
    subject: str
    tenant: str
    roles: frozenset[str]
    clearances: frozenset[str]
    digest: str = field(repr=False)
    created_at: int
    expires_at: int
    revoked_at: int | None = None
    last_used_at: int | None = None

    def state(self, now: float) -> KeyState:
        """Whether it counts at this time."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"

    @property
    def principal(self) -> Principal:
        """Whom it speaks for."""
        return Principal(self.subject, self.tenant, self.roles, self.clearances)


def split_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key; None for what is none."""
    match = _KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


def digest_of(key_id: str, secret: str, pepper: bytes) -> str:
    """What the database holds of a key: 64 hexadecimal digits."""
    return hmac.new(pepper, f"{key_id}.{secret}".encode(), hashlib.sha256).hexdigest()


class KeyStore:
    """The keys and sign-outs in the registry's database. Every change counts in every process within a second."""

    def __init__(self, engine: Engine, pepper: bytes, now: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._pepper = pepper
        self._now = now

    def create(self, name: str, principal: Principal, seconds: float) -> tuple[ApiKey, str]:
        """A new key for this principal, and its only text. It expires after `seconds`."""
        now = int(self._now())
        key_id, secret = secrets.token_hex(8), base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        key = ApiKey(
            key_id, name, principal.subject, principal.tenant, principal.roles, principal.clearances,
            digest_of(key_id, secret, self._pepper), now, now + int(seconds),
        )  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(insert(api_keys).values(_values(key)))
            _changed(connection)
        return key, f"bsk_{key_id}.{secret}"

    def rotate(self, key_id: str, seconds: float, overlap_seconds: float) -> tuple[ApiKey, str]:
        """A successor with the same rights; the old key counts for `overlap_seconds` more. Raises `NotFound`."""
        now = int(self._now())
        old = self.get(key_id)
        if old.state(now) != "active":
            raise NotFound(f"key {key_id} is {old.state(now)}; make a new one with `banksight keys create`")
        successor = self.create(old.name, old.principal, seconds)
        with self.engine.begin() as connection:
            ends = min(old.expires_at, now + int(overlap_seconds))
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires_at=ends))
            _changed(connection)
        return successor

    def revoke(self, key_id: str) -> ApiKey:
        """End a key now. Raises `NotFound`."""
        key = self.get(key_id)
        if key.revoked_at is None:
            key = replace(key, revoked_at=int(self._now()))
            with self.engine.begin() as connection:
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=key.revoked_at))
                _changed(connection)
        return key

    def revoke_all(self, subject: str) -> int:
        """End every key of a subject. Returns how many still counted."""
        now = int(self._now())
        mine = (api_keys.c.subject == subject) & api_keys.c.revoked_at.is_(None) & (api_keys.c.expires_at > now)
        with self.engine.begin() as connection:
            ended = connection.execute(update(api_keys).where(mine).values(revoked_at=now)).rowcount
            _changed(connection)
        return ended

    def delete_all(self, tenant: str, subject: str) -> int:
        """End every key of a person and forget it. Returns how many there were."""
        with self.engine.begin() as connection:
            gone = connection.execute(delete(api_keys).filter_by(tenant=tenant, subject=subject)).rowcount
            _changed(connection)
        return gone

    def sign_out(self, key: str, issued_until: int, expires_at: int) -> None:
        """Refuse the tokens that `key` stands for and that were issued at `issued_until` or before."""
        with self.engine.begin() as connection:
            connection.execute(delete(signed_out).where(signed_out.c.expires_at < int(self._now())))
            connection.execute(delete(signed_out).where(signed_out.c.key == key))
            row = {"key": key, "issued_until": issued_until, "expires_at": expires_at}
            connection.execute(insert(signed_out).values(row))
            _changed(connection)

    def get(self, key_id: str) -> ApiKey:
        """One key. Raises `NotFound`."""
        with self.engine.connect() as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise NotFound(f"there is no key {key_id!r}; `banksight keys list` shows those there are")
        return _key_of(row)

    def all(self) -> list[ApiKey]:
        """Every key, the newest last."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
            return [_key_of(row) for row in rows]

    def sign_outs(self) -> dict[str, int]:
        """Until when tokens must have been issued to be refused, by what they stand for."""
        with self.engine.connect() as connection:
            return {row.key: row.issued_until for row in connection.execute(select(signed_out))}

    def generation(self) -> str:
        """A text that is another one after every change to keys or sign-outs."""
        with self.engine.connect() as connection:
            return str(connection.execute(select(state.c.value).where(state.c.key == GRANTS)).scalar_one())

    def used(self, key_ids: Iterable[str]) -> None:
        """Note that these keys were used now."""
        with self.engine.begin() as connection:
            mine = api_keys.c.id.in_(list(key_ids))
            connection.execute(update(api_keys).where(mine).values(last_used_at=int(self._now())))

    def matches(self, key: ApiKey, secret: str) -> bool:
        """Whether this is the key's secret, in the same time whatever it is."""
        return hmac.compare_digest(key.digest, digest_of(key.id, secret, self._pepper))


def read_pepper(configured: str, data_dir: Path) -> bytes:
    """The pepper of the settings, or of the file in the data folder, which is made where it is missing.

    Raises `ConfigurationError`.
    """
    return read_secret(configured, data_dir / _PEPPER_FILE, "identity.keys.pepper", "any key can be checked")


def read_secret(configured: str, path: Path, setting: str, needed: str) -> bytes:
    """The configured secret, or that of the file, which is made where it is missing. Raises `ConfigurationError`.

    Errors say that without the file nothing of `needed` holds, and which `setting` takes its place.
    """
    if configured:
        return configured.encode()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Complete or not there at all, whoever else does this now.
            fresh = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_hex(32), encoding="ascii")
            with suppress(FileExistsError):
                path.hardlink_to(fresh)
            fresh.unlink()
        return path.read_text(encoding="ascii").strip().encode()
    except OSError as error:
        raise ConfigurationError(
            f"the file {path} cannot be read ({error.strerror}), and only with it {needed}; "
            f"restore it, or set {setting}"
        ) from error


def _changed(connection: Connection) -> None:
    connection.execute(update(state).where(state.c.key == GRANTS).values(value=uuid.uuid4().hex))


def _values(key: ApiKey) -> dict[str, Any]:
    names = [name for name in key.__dataclass_fields__ if name not in ("roles", "clearances")]
    lists = {"roles": json.dumps(sorted(key.roles)), "clearances": json.dumps(sorted(key.clearances))}
    return {name: getattr(key, name) for name in names} | lists


def _key_of(row: Row[Any]) -> ApiKey:
    known = dict(row._mapping)
    lists = {name: frozenset(json.loads(known[name])) for name in ("roles", "clearances")}
    return ApiKey(**known | lists)
