"""`banksight backup`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from rag.commands.place import jobs_of_worker, opened, print_json, workspace_or_remote
from rag.errors import Busy, DataFolderInUse
from rag.governance.roles import for_roles
from rag.operations.backup_repository import BackupRepository
from rag.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from rag.operations.backup_recovery import Proof

_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_WHICH = click.argument("backup_id", metavar="ID", default="latest")


@for_roles("operator")
@click.group()
def backup() -> None:
    """Save the corpus, prove that it can come back, and bring it back.

    Backups go to the restic repository `backup.repository`, encrypted with the password in `backup.password_file`.
    """


@backup.command()
@click.option("--verify/--no-verify", default=True, help="Restore the new backup beside the live corpus and compare.")
@_JSON
def create(*, verify: bool, as_json: bool) -> int:
    """Save the corpus of this moment. Questions are answered meanwhile; an ingestion is waited for."""
    from rag.operations import backup as backups  # noqa: PLC0415

    settings = load_settings()
    with _bar() as bar:
        task = bar.add_task("Opening", total=None)

        def step(name: str) -> None:
            bar.update(task, description=name, completed=0, total=None)

        def share(done: float) -> None:
            bar.update(task, completed=done, total=1.0)

        saved = backups.create(settings, partial(_snapshot, settings), step, share)
        proof = backups.verify(settings, saved, opened, step) if verify else None
    if as_json:
        print_json({"id": saved, "proof": _plain(proof) if proof else None})
    else:
        click.echo(f"backup {saved} was saved" + (f" and proved: {_sentence(proof)}" if proof else ", not verified"))
    return 0


@backup.command("list")
@_JSON
def list_backups(*, as_json: bool) -> int:
    """The backups there are, oldest first."""
    settings = load_settings()
    found = BackupRepository(settings.backup, settings.root).backups()
    if as_json:
        print_json([asdict(each) for each in found])
        return 0
    for each in found:
        told = ", ".join(f"{value} {name}" for name, value in each.facts.items() if name != "version")
        click.echo(f"{each.id}  {each.created_at[:19]}Z  {told}")
    click.echo(f"{len(found)} backups")
    return 0


@backup.command()
@_WHICH
@_JSON
def verify(backup_id: str, *, as_json: bool) -> int:
    """Restore the backup ID (default: the newest) beside the live corpus, compare all and ask golden questions."""
    from rag.operations import backup as backups  # noqa: PLC0415

    settings = load_settings()
    with _steps() as step:
        proof = backups.verify(settings, backup_id, opened, step)
    if as_json:
        print_json(_plain(proof))
    else:
        click.echo(f"backup {proof.backup} is whole: {_sentence(proof)}")
    return 0


@backup.command()
@_WHICH
@click.option("--replace", is_flag=True, help="Put it in place of the documents that are there; they are kept aside.")
@_JSON
def restore(backup_id: str, *, replace: bool, as_json: bool) -> int:
    """Make the backup ID (default: the newest) the live corpus, once it has proved whole. Stop BankSight first."""
    from rag.operations import backup as backups  # noqa: PLC0415

    settings = load_settings()
    with _steps() as step:
        done = backups.restore(settings, backup_id, opened, step, replace=replace)
    if as_json:
        print_json({**_plain(done.proof), "restored_seconds": done.seconds, "kept": list(done.kept)})
        return 0
    click.echo(f"backup {done.proof.backup} was restored in {done.seconds:.1f} s: {_sentence(done.proof)}")
    if done.kept:
        click.echo(f"what was there before is in {' and '.join(map(str, done.kept))}; delete it when you are sure")
    return 0


@backup.command()
@click.option("--keep-days", type=click.IntRange(1), help="Instead of backup.keep_days.")
def prune(*, keep_days: int | None) -> int:
    """Delete backups that are older than the newest by more than `backup.keep_days`, once that one has proved whole."""
    from rag.operations import backup as backups  # noqa: PLC0415

    settings = load_settings()
    days = keep_days or settings.backup.keep_days
    with _steps() as step:
        gone = backups.prune(settings, days, opened, step)
    click.echo(f"{gone} backups deleted; those of the last {days} days stay")
    return 0


@backup.command()
@_WHICH
@_JSON
def drill(backup_id: str, *, as_json: bool) -> int:
    """Restore the backup ID (default: the newest) beside the live corpus against the clock, and certify the time.

    Exit code 1 when it took longer than promised.
    """
    from rag.operations import backup as backups  # noqa: PLC0415

    settings = load_settings()
    with _steps() as step:
        certificate, path = backups.drill(settings, backup_id, opened, step)
    if as_json:
        print_json(certificate)
    else:
        took, promised = certificate["seconds"]["recovery"], certificate["promised_seconds"]
        click.echo(f"recovery took {took:.1f} s of {promised:,} s promised; the certificate is {path}")
    return 0 if certificate["kept_promise"] else 1


def _snapshot(settings: Settings) -> None:
    """Have the corpus copied: here, by the service that has the data folder open, or by the worker."""
    from rag.operations.backup_snapshot import snapshot_by_worker, take_snapshot  # noqa: PLC0415
    from rag.remote import RemoteWorkspace  # noqa: PLC0415

    try:
        with workspace_or_remote(settings) as place:
            if isinstance(place, RemoteWorkspace):
                place.snapshot()
            else:
                take_snapshot(place)
    except (Busy, DataFolderInUse):
        if settings.ingestion.serving != "worker":
            raise
        with jobs_of_worker(settings) as worker:
            snapshot_by_worker(worker, settings, settings.backup.wait_seconds)


def _sentence(proof: Proof) -> str:
    facts = proof.facts
    return (
        f"{facts.documents:,} documents, {facts.chunks:,} chunks, {proof.questions} golden questions found again; "
        f"recovery takes {proof.seconds:.1f} s"
    )


def _plain(proof: Proof) -> dict[str, Any]:
    facts = {name: value for name, value in asdict(proof.facts).items() if name != "questions"}
    return {**asdict(proof), "facts": facts, "seconds": proof.seconds}


@contextmanager
def _steps() -> Iterator[Any]:
    with _bar() as bar:
        task = bar.add_task("Looking", total=None)
        yield lambda name: bar.update(task, description=name)


@contextmanager
def _bar() -> Iterator[Bar]:
    """Progress on standard error; nothing where that is no terminal."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar
