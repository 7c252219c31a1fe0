"""People with passwords in the chat's database. Blocking; commands call it, and the chat from threads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ui.history.schema import accounts, sessions
from ui.history.store import now
from ui.signing_in.passwords import hashed, is_outdated, matches, nobodys_hash, wait_seconds

_NAME = re.compile(r"[\w.@+-]{1,64}")


class AccountError(ValueError):
    """An account cannot be made or changed; the text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in with a password. Times are seconds since 1970 or in Chainlit's way of writing."""

    name: str
    password_hash: str = field(repr=False)
    sealed: str = field(repr=False)
    created_at: str
    failures: int
    locked_until: int


class AccountStore:
    """The accounts of one database."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._nobodys = nobodys_hash()

    def all(self) -> list[Account]:
        """Every account, by name."""
        with self._engine.connect() as connection:
            return [_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.name))]

    def add(self, name: str, password: str, sealed: str) -> Account:
        """A new account. Raises AccountError."""
        account = Account(account_name(name), hashed(password), sealed, now(), 0, 0)
        row = {
            "name": account.name,
            "passwordHash": account.password_hash,
            "sealed": sealed,
            "createdAt": account.created_at,
            "failures": 0,
            "lockedUntil": 0,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(accounts).values(row))
        except IntegrityError as problem:
            raise AccountError(f"{account.name} is there already; `users passwd` changes the password.") from problem
        return account

    def set_password(self, name: str, password: str) -> None:
        """Another password; ends the person's sessions and any waiting. Raises AccountError."""
        self._change(name, passwordHash=hashed(password), failures=0, lockedUntil=0)

    def set_key(self, name: str, sealed: str) -> None:
        """Another key of the API; ends the person's sessions. Raises AccountError."""
        self._change(name, sealed=sealed)

    def remove(self, name: str) -> None:
        """End an account and its sessions. Raises AccountError. Conversations stay: they belong to the person."""
        with self._engine.begin() as connection:
            if not connection.execute(delete(accounts).where(accounts.c.name == _folded(name))).rowcount:
                raise _absent(name)

    def signed_in(self, name: str, password: str) -> Account | None:
        """The account whose name and password these are; None when there is none, or somebody has to wait.

        Takes the same time in every case. The try is counted before it is checked, so that many at once gain nothing.
        """
        account = self._try(_folded(name))
        if not matches(account.password_hash if account else self._nobodys, password) or account is None:
            return None
        fresh = {"passwordHash": hashed(password)} if is_outdated(account.password_hash) else {}
        with self._engine.begin() as connection:
            mine = accounts.c.name == account.name
            connection.execute(update(accounts).where(mine).values(failures=0, lockedUntil=0, **fresh))
        return account

    def _try(self, name: str) -> Account | None:
        """The account, with one more failure noted; None when there is none, or it may not be tried now."""
        time = int(self._clock())
        with self._engine.begin() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
            if row is None or row.lockedUntil > time:
                return None
            failures = row.failures + 1
            unchanged = (accounts.c.name == name) & (accounts.c.failures == row.failures)
            changes = {"failures": failures, "lockedUntil": time + wait_seconds(failures)}
            counted = connection.execute(update(accounts).where(unchanged).values(changes)).rowcount
            return _account(row) if counted else None

    def _change(self, name: str, **values: Any) -> None:
        folded = _folded(name)
        with self._engine.begin() as connection:
            if not connection.execute(update(accounts).where(accounts.c.name == folded).values(values)).rowcount:
                raise _absent(name)
            connection.execute(delete(sessions).where(sessions.c.account == folded))


def account_name(text: str) -> str:
    """The name as it is kept: upper and lower case do not count. Raises AccountError."""
    name = _folded(text)
    if not _NAME.fullmatch(name):
        raise AccountError("A name has 1 to 64 letters, digits and . @ + - _, and no spaces.")
    return name


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:200]).strip().casefold()


def _absent(name: str) -> AccountError:
    return AccountError(f"There is nobody called {name}; `users list` shows who there is.")


def _account(row: Any) -> Account:
    return Account(row.name, row.passwordHash, row.sealed, row.createdAt, row.failures, row.lockedUntil)
