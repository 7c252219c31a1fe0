"""`banksight keys`: keys for programs, straight in the registry's database, whether BankSight runs or not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rag.commands.place import print_json
from rag.errors import ConfigurationError
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings
from rag.settings.identity import ROLES

if TYPE_CHECKING:
    from rag.domain import Principal
    from rag.governance.keys import ApiKey, KeyStore

_SHOWN_ONCE = "This is the only time that the key is shown. Send it as `Authorization: Bearer KEY`."
_LONGEST_TOKEN_SECONDS = 366 * 86_400


@for_roles("admin")
@click.group()
def keys() -> None:
    """Make, list, rotate and revoke keys for programs (identity.mode api_key or oidc)."""


@keys.command()
@click.argument("name")
@click.option("--subject", help="Whom the key speaks for.  [default: NAME]")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(ROLES), help="May be repeated.")
@click.option("--clearance", "clearances", multiple=True, help="An access label that it holds; may be repeated.")
@click.option("--tenant", help="Whose documents it sees.  [default: tenant of the configuration]")
@click.option("--days", type=click.IntRange(1, 366), help="Until it expires.  [default: identity.keys.days]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def create(name: str, *, as_json: bool, **chosen: Any) -> None:
    """Make a key for NAME and show it, once."""
    from rag.domain import Principal  # noqa: PLC0415

    settings = load_settings()
    principal = Principal(
        chosen["subject"] or name,
        chosen["tenant"] or settings.tenant,
        frozenset(chosen["roles"]),
        frozenset(chosen["clearances"]),
    )
    days = chosen["days"] or settings.identity.keys.days
    with _store(settings) as store, _recorded(settings, store, principal, "create") as outcome:
        key, text = store.create(name, principal, days * 86_400)
        outcome["key"] = key.id
    _tell(key, text, as_json)
    if settings.identity.mode == "none":
        click.secho("identity.mode is none: no key is asked for until it is api_key or oidc.", fg="yellow", err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_keys(*, as_json: bool) -> None:
    """Every key: whom it speaks for, what it may do, until when, and when it was used last."""
    with _store(load_settings()) as store:
        rows = [_row(key) for key in store.all()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        rights = " ".join([*row["roles"], *(f"+{label}" for label in row["clearances"])])
        used = f"used {row['last_used_at']}" if row["last_used_at"] else "never used"
        click.echo(
            f"{row['id']}  {row['state']:<8} until {row['expires_at']}  {row['tenant']}/{row['subject']}  "
            f"{rights}  {used}  {row['name']}"
        )
    click.echo(f"{len(rows)} keys")


@keys.command()
@click.argument("key_id")
@click.option("--days", type=click.IntRange(1, 366), help="Until the new one expires.  [default: identity.keys.days]")
@click.option("--overlap-hours", type=click.FloatRange(0, 336), help="  [default: identity.keys.overlap_hours]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def rotate(key_id: str, *, days: int | None, overlap_hours: float | None, as_json: bool) -> None:
    """Make a successor of a key. The old one counts a while longer, so that programs can be changed in peace."""
    settings = load_settings()
    chosen = settings.identity.keys
    hours = chosen.overlap_hours if overlap_hours is None else overlap_hours
    with _store(settings) as store, _recorded(settings, store, store.get(key_id).principal, "rotate") as outcome:
        key, text = store.rotate(key_id, (days or chosen.days) * 86_400, hours * 3600)
        outcome |= {"key": key.id, "old_key": key_id}
    _tell(key, text, as_json)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key, on every node within a second."""
    settings = load_settings()
    with _store(settings) as store, _recorded(settings, store, store.get(key_id).principal, "revoke") as outcome:
        key = store.revoke(key_id)
        outcome["key"] = key.id
    click.echo(f"revoked {key.id} ({key.name})")


@keys.command("sign-out")
@click.argument("subject")
def sign_out(subject: str) -> None:
    """End all keys of SUBJECT, and all of that person's access tokens that were issued until now."""
    from rag.domain import Principal  # noqa: PLC0415
    from rag.governance.tokens import subject_key  # noqa: PLC0415

    now = int(time.time())
    settings = load_settings()
    person = Principal(subject, settings.tenant)
    with _store(settings) as store, _recorded(settings, store, person, "sign_out") as outcome:
        ended = outcome["keys"] = store.revoke_all(subject)
        store.sign_out(subject_key(subject), now, now + _LONGEST_TOKEN_SECONDS)
    click.echo(f"signed out {subject}: {ended} keys ended, access tokens issued until now are refused")


@contextmanager
def _store(settings: Settings) -> Iterator[KeyStore]:
    from rag.governance.identity import open_key_store  # noqa: PLC0415  half a second that `--help` must not pay
    from rag.storage.database import open_database  # noqa: PLC0415

    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the data folder {settings.data_dir} cannot be made ({error.strerror})") from error
    database = open_database(settings.database_url)
    try:
        yield open_key_store(settings, database)
    finally:
        database.dispose()


@contextmanager
def _recorded(settings: Settings, store: KeyStore, person: Principal, change: str) -> Iterator[dict[str, Any]]:
    """A receipt for a change of what somebody may do, made by the owner of this machine."""
    from rag.governance.identity import local_principal  # noqa: PLC0415
    from rag.governance.receipts import open_receipts  # noqa: PLC0415

    receipts = open_receipts(settings, store.engine)
    try:
        rights = {"roles_given": sorted(person.roles), "of": receipts.subjects.of(person).pseudonym}
        with receipts.action("role_change", local_principal(settings), change=change, **rights) as outcome:
            yield outcome
    finally:
        receipts.close()


def _tell(key: ApiKey, text: str, as_json: bool) -> None:  # noqa: FBT001  passed on from the option
    if as_json:
        print_json({**_row(key), "key": text})
        return
    click.echo(text)
    click.echo(f"key {key.id} of {key.subject} until {_shown(key.expires_at)}. {_SHOWN_ONCE}", err=True)


def _row(key: ApiKey) -> dict[str, Any]:
    times = {name: _shown(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return {
        "id": key.id, "name": key.name, "state": key.state(time.time()), "tenant": key.tenant, "subject": key.subject,
        "roles": sorted(key.roles), "clearances": sorted(key.clearances), **times,
    }  # fmt: skip


def _shown(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ") if seconds is not None else None
