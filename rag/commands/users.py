"""`banksight users`: people. Packages above `rag` add commands by the entry points `banksight.commands.users`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rag.commands.lazy import LazyGroup
from rag.commands.place import opened, print_json
from rag.errors import NotFound, StorageUnavailable
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings
from rag.storage.ownership import owner_of

if TYPE_CHECKING:
    from rag.governance.erasure_records import Erasures
    from rag.storage.registry import Registry

_LOOK_EVERY_SECONDS = 0.2


@for_roles("admin")
@click.group(cls=LazyGroup, group="banksight.commands.users")
def users() -> None:
    """Say who may sign in to the chat with a password; erase people, and show the certificate of it."""


@users.command()
@click.argument("subject")
@click.option("--tenant", help="Whose person it is.  [default: tenant of the configuration]")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option("--json", "as_json", is_flag=True, help="Print the certificate as JSON.")
def erase(subject: str, *, tenant: str | None, yes: bool, as_json: bool) -> int:
    """Erase SUBJECT everywhere: keys, uploads and their vectors, conversations, consents, and their name in the trail.

    It cannot be undone. A running BankSight does it and this command waits; Ctrl-C ends the waiting only. What was cut
    off is taken up by the same command, or by the next start. Exit code 1: something was found afterwards.
    """
    settings = load_settings()
    whose = tenant or settings.tenant
    if not yes:
        click.confirm(f"Erase {subject} of {whose}, with all that they uploaded? It cannot be undone", abort=True)
    running = settings.ingestion.serving == "worker" or owner_of(settings.data_dir)
    certificate = _by_others(settings, whose, subject) if running else _here(settings, whose, subject)
    if as_json:
        print_json(certificate)
    else:
        _tell(certificate)
    return 1 if certificate["outcome"] != "erased" else 0


@for_roles("admin", "auditor")
@users.command()
@click.argument("erasure_id", metavar="ID")
def certificate(erasure_id: str) -> None:
    """Print the certificate of an erasure as JSON."""
    with _registry(load_settings()) as (erasures, _):
        found = erasures.certificate(erasure_id)
    if found is None:
        raise NotFound(f"erasure {erasure_id} is not done yet; look again in a moment")
    print_json(found)


def _here(settings: Settings, tenant: str, subject: str) -> dict[str, Any]:
    with opened(settings) as workspace:
        erasures = workspace.personal.erasures
        erasure_id = erasures.ask(tenant, subject, "operator")
        workspace.erase_asked_for(erasure_id)
        return erasures.certificate(erasure_id) or {}


def _by_others(settings: Settings, tenant: str, subject: str) -> dict[str, Any]:
    """Have the process do it that owns the stores. Raises `StorageUnavailable` where it says that it failed."""
    from rag.governance.erasure_records import queue  # noqa: PLC0415
    from rag.ingestion.job_queue import JobQueue  # noqa: PLC0415

    with _registry(settings) as (erasures, registry):
        erasure_id = erasures.ask(tenant, subject, "operator")
        jobs = JobQueue(registry.jobs)
        queue(erasure_id, jobs)
        click.echo(f"erasure {erasure_id} is asked for", err=True)
        while True:
            done = erasures.certificate(erasure_id)
            if done is not None:
                return done
            mine = next((each for each in jobs.latest(1000) if each.document_id == erasure_id), None)
            if mine and mine.state == "failed":
                raise StorageUnavailable(f"the erasure is not done: {mine.error} Then run this command again")
            time.sleep(_LOOK_EVERY_SECONDS)


@contextmanager
def _registry(settings: Settings) -> Iterator[tuple[Erasures, Registry]]:
    from rag.governance.audit_lines import audit_keys  # noqa: PLC0415
    from rag.governance.erasure_records import Erasures  # noqa: PLC0415
    from rag.governance.subjects import SubjectKeys  # noqa: PLC0415
    from rag.storage.database import open_database  # noqa: PLC0415
    from rag.storage.registry import Registry  # noqa: PLC0415

    keys = audit_keys(settings.audit.secret.get_secret_value(), settings.data_dir)
    database = open_database(settings.database_url, "require")
    try:
        yield Erasures(database, SubjectKeys(database, keys)), Registry(database)
    finally:
        database.dispose()


def _tell(certificate: dict[str, Any]) -> None:
    proof = certificate["proof"]
    click.echo(f"erasure {certificate['id']}: {certificate['outcome']}")
    for step, said in certificate["erased"].items():
        click.echo(f"  {step:<14} " + ", ".join(f"{name} {value}" for name, value in said.items()))
    click.echo(
        f"  looked for {proof['markers']} markers in {proof['files']:,} files ({proof['bytes'] / 1e6:,.1f} MB); "
        f"{proof['shared']} more are also of what stays"
    )
    for path, count in proof["found"].items():
        click.secho(f"  {count} of them still stand in {path}", fg="red")
    for sentence in certificate["left"]:
        click.echo(f"  left: {sentence}")
