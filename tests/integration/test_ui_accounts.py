"""Accounts and kept sessions of the chat in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ui.errors import SignInNeeded
from ui.history.database import open_database
from ui.history.store import ConversationStore
from ui.signing_in.accounts import AccountStore
from ui.signing_in.kept import KeptSessions

PASSWORD, WRONG = "correct horse battery staple", "wrong horse battery staple"
SECRET = "5" * 64


@dataclass
class Clock:
    time: float = 1_700_000_000

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    sqlite = f"sqlite:///{tmp_path / 'conversations.db'}"
    engine = open_database(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url"))
    yield engine
    engine.dispose()


@pytest.fixture
def accounts(engine: Engine, clock: Clock) -> AccountStore:
    accounts = AccountStore(engine, clock)
    accounts.add("Ann", PASSWORD, "sealed key")
    return accounts


@pytest.fixture
def kept(engine: Engine, clock: Clock) -> KeptSessions:
    return KeptSessions(engine, clock, SECRET)


def test_after_five_wrong_passwords_the_right_one_has_to_wait(accounts: AccountStore, clock: Clock) -> None:
    assert [accounts.signed_in("ann", WRONG) for _ in range(5)] == [None] * 5
    assert accounts.signed_in("ann", PASSWORD) is None
    clock.time += 30
    account = accounts.signed_in("ANN ", PASSWORD)
    assert account is not None
    assert account.sealed == "sealed key"
    assert accounts.all()[0].failures == 0


def test_tries_while_waiting_do_not_make_the_waiting_longer(accounts: AccountStore, clock: Clock) -> None:
    for _ in range(8):
        accounts.signed_in("ann", WRONG)
    assert accounts.all()[0].locked_until == int(clock.time) + 30


def test_nobody_signs_in_under_a_name_that_is_not_there(accounts: AccountStore) -> None:
    assert accounts.signed_in("bob", PASSWORD) is None
    assert accounts.signed_in("a" * 100_000, PASSWORD) is None


async def test_a_kept_session_is_encrypted_and_ends_with_its_time(
    engine: Engine, kept: KeptSessions, clock: Clock
) -> None:
    row = ConversationStore(engine).ensure_user("bank/ann")
    session = await kept.begin(row["id"], "bsk_ann", 3600)
    assert await kept.bearer(session) == "bsk_ann"
    with engine.connect() as connection:
        assert "bsk_ann" not in str(connection.execute(text("SELECT * FROM sessions")).all())
    with pytest.raises(SignInNeeded):
        await KeptSessions(engine, clock, "6" * 64).bearer(session)
    clock.time += 3601
    assert not await kept.counts(session)


@pytest.mark.parametrize("change", ["password", "key", "remove", "erased"])
async def test_a_session_ends_when_its_account_changes_or_its_person_goes(
    engine: Engine, kept: KeptSessions, accounts: AccountStore, change: str
) -> None:
    store = ConversationStore(engine)
    session = await kept.begin(store.ensure_user("bank/ann")["id"], "bsk_ann", 3600, "ann")
    other = await kept.begin(store.ensure_user("bank/bob")["id"], "bsk_bob", 3600)
    assert await kept.counts(session)
    match change:
        case "password":
            accounts.set_password("ann", WRONG)
        case "key":
            accounts.set_key("ann", "another sealed key")
        case "remove":
            accounts.remove("ann")
        case _:
            store.delete_user("bank/ann")
    assert not await kept.counts(session)
    assert await kept.bearer(other) == "bsk_bob"
    with pytest.raises(SignInNeeded):
        await kept.bearer(session)
