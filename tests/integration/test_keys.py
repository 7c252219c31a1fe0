"""Keys of programs, in SQLite and in PostgreSQL: made, used, rotated, revoked, and never written down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from rag.commands.keys import keys as keys_command
from rag.domain import Principal
from rag.errors import ConfigurationError, NotFound, NotSignedIn
from rag.governance.identity import Authenticator, Grants
from rag.governance.keys import KeyStore, read_pepper, split_key
from rag.storage.database import open_database

PEPPER = b"p" * 64
ROBOT = Principal("robot", "north", frozenset({"analyst"}), frozenset({"hr"}))
DAY = 86_400.0


class Clock:
    """The time of day, and the same as a monotonic clock."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = (
        f"sqlite:///{tmp_path / 'r.sqlite3'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    engine = open_database(url)
    yield engine
    engine.dispose()


def _who(authenticator: Authenticator, text_of_key: str) -> Principal:
    return asyncio.run(authenticator.principal(f"Bearer {text_of_key}"))


def _refused(authenticator: Authenticator, text_of_key: str) -> bool:
    try:
        _who(authenticator, text_of_key)
    except NotSignedIn:
        return True
    return False


@pytest.mark.proves("PCI DSS 8.2.1")
def test_a_key_signs_in_whom_it_was_made_for(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    _, key = store.create("nightly", ROBOT, DAY)
    who = _who(Authenticator(Grants(store)), key)
    assert (who.subject, who.tenant, who.clearances) == ("robot", "north", {"hr"})
    assert who.roles == {"analyst", "user"}


@pytest.mark.proves("PCI DSS 8.3.2", "ISO A.5.17")
def test_the_database_holds_nothing_that_signs_in(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    key, shown = store.create("nightly", ROBOT, DAY)
    parts = split_key(shown)
    assert parts is not None
    with database.connect() as connection:
        everything = json.dumps([list(map(str, row)) for row in connection.execute(text("SELECT * FROM api_keys"))])
    assert parts[1] not in everything
    assert key.digest not in repr(key)
    assert _refused(Authenticator(Grants(KeyStore(database, b"q" * 64))), shown), "the pepper counts"
    assert _refused(Authenticator(Grants(store)), f"bsk_{key.id}.{key.digest[:43]}")


@pytest.mark.parametrize(
    "broken", ["", "bsk_", "bsk_0123456789abcdef.", "bsk_{id}.{wrong}", "bsk_{other}.{secret}", "{secret}"]
)
def test_wrong_keys_are_refused(database: Engine, broken: str) -> None:
    store = KeyStore(database, PEPPER)
    (key, shown), (other, _) = store.create("a", ROBOT, DAY), store.create("b", ROBOT, DAY)
    secret = shown.partition(".")[2]
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "E")
    assert _refused(Authenticator(Grants(store)), broken.format(id=key.id, other=other.id, secret=secret, wrong=wrong))


@pytest.mark.proves("ASVS 8.3.2", "SOC 2 CC6.2", "ISO A.5.18")
def test_revoking_counts_on_every_node_within_a_second(database: Engine) -> None:
    clock = Clock()
    here, there = KeyStore(database, PEPPER), KeyStore(database, PEPPER)
    key, shown = here.create("a", ROBOT, DAY)
    node = Authenticator(Grants(there, clock))
    assert not _refused(node, shown)
    here.revoke(key.id)
    clock.now += 1.0
    assert _refused(node, shown)


def test_a_key_made_elsewhere_counts_within_a_second(database: Engine) -> None:
    clock = Clock()
    node = Authenticator(Grants(KeyStore(database, PEPPER), clock))
    assert _refused(node, "bsk_0123456789abcdef." + "A" * 43)
    _, shown = KeyStore(database, PEPPER).create("a", ROBOT, DAY)
    clock.now += 1.0
    assert not _refused(node, shown)


def test_a_rotated_key_counts_until_its_overlap_ends(database: Engine) -> None:
    clock = Clock()
    store = KeyStore(database, PEPPER, clock)
    old, _ = store.create("a", ROBOT, DAY)
    new, _ = store.rotate(old.id, 30 * DAY, 3600)
    kept = store.get(old.id)
    assert (kept.state(clock.now + 3599), kept.state(clock.now + 3600)) == ("active", "expired")
    assert (new.name, new.principal) == (old.name, old.principal)
    store.rotate(new.id, DAY, 365 * DAY)
    assert store.get(new.id).expires_at == new.expires_at, "an overlap never makes a key live longer"


def test_an_expired_or_revoked_key_is_not_rotated(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    expired, revoked = store.create("a", ROBOT, -1)[0], store.create("b", ROBOT, DAY)[0]
    store.revoke(revoked.id)
    for key in (expired, revoked):
        with pytest.raises(NotFound, match="make a new one"):
            store.rotate(key.id, DAY, 0)


@pytest.mark.proves("SOC 2 CC6.2")
def test_an_expired_key_is_refused(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    assert _refused(Authenticator(Grants(store)), store.create("a", ROBOT, -1)[1])


def test_when_a_key_was_used_last_is_written_down(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    used, unused = store.create("a", ROBOT, DAY), store.create("b", ROBOT, DAY)
    authenticator = Authenticator(Grants(store))
    _who(authenticator, used[1])
    authenticator.close()
    assert store.get(used[0].id).last_used_at is not None
    assert store.get(unused[0].id).last_used_at is None


def test_signing_out_ends_the_key(database: Engine) -> None:
    store = KeyStore(database, PEPPER)
    _, shown = store.create("a", ROBOT, DAY)
    authenticator = Authenticator(Grants(store))
    asyncio.run(authenticator.sign_out(f"Bearer {shown}"))
    assert _refused(authenticator, shown)


@pytest.mark.proves("ISO A.5.17")
def test_a_pepper_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = read_pepper("", tmp_path / "data")
    assert read_pepper("", tmp_path / "data") == first
    assert len(first) == 64
    (file,) = (tmp_path / "data").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_pepper("from the settings", tmp_path / "data") == b"from the settings"
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"set identity\.keys\.pepper"):
        read_pepper("", tmp_path / "file" / "data")


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("BANKSIGHT_PROFILE", "test")
    monkeypatch.setenv("BANKSIGHT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BANKSIGHT__IDENTITY__MODE", "api_key")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(keys_command, arguments, standalone_mode=False, catch_exceptions=False)

    return run


def test_commands_make_list_rotate_revoke_and_sign_out(invoke: Callable[..., Result]) -> None:
    made = json.loads(invoke("create", "loader", "--role", "operator", "--clearance", "hr", "--json").stdout)
    assert split_key(made["key"]) is not None
    assert (made["subject"], made["roles"], made["clearances"]) == ("loader", ["operator"], ["hr"])
    listed = invoke("list").output
    assert made["id"] in listed
    assert made["key"] not in listed
    successor = json.loads(invoke("rotate", made["id"], "--json").stdout)
    assert "revoked" in invoke("revoke", made["id"]).output
    states = {row["id"]: row["state"] for row in json.loads(invoke("list", "--json").stdout)}
    assert states == {made["id"]: "revoked", successor["id"]: "active"}
    assert "1 keys ended" in invoke("sign-out", "loader").output
