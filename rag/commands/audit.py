"""`banksight audit`: whether the audit trail is as it was written, what it says, and how long it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.commands.place import opened, print_json
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings

if TYPE_CHECKING:
    from rag.governance.audit_lines import AuditKeys
    from rag.governance.audit_writer import AuditWriter

_PATH = click.Path(path_type=Path)


@for_roles("auditor", "operator")
@click.group()
def audit() -> None:
    """Check, read and keep the audit trail (docs/security.md)."""


@audit.command()
@click.option("--anchors", "more", multiple=True, type=_PATH, help="Copies of anchors: a file or a folder; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(*, more: tuple[Path, ...], as_json: bool) -> int:
    """Check every line of every chain, and every signed head. Exit code 1 when something is not as it was written."""
    from rag.governance.audit_verifying import as_json as told  # noqa: PLC0415
    from rag.governance.audit_verifying import verify as check  # noqa: PLC0415

    settings = load_settings()
    keys = _keys(settings)
    found = check(settings.audit_dir, settings.anchor_dir, keys, more)
    if as_json:
        print_json(told(found) | {"public_key": keys.public})
    else:
        click.echo(f"{found.records:,} records in {found.chains} chains, {found.anchors} anchors by {keys.public}")
        for fault in found.faults:
            click.secho(f"  {fault.place}: {fault.what}", fg="red")
        if not found.faults:
            click.echo("every record is as it was written")
    return 1 if found.faults else 0


@audit.command()
@click.argument("file", type=_PATH)
def anchor(file: Path) -> int:
    """Write the signed head of every chain to FILE, to be kept where nobody can change it.

    Later `audit verify --anchors FILE` shows whether anything until now was cut off.
    """
    from rag.errors import StorageUnavailable  # noqa: PLC0415
    from rag.governance.audit_anchors import Head, write_anchor  # noqa: PLC0415
    from rag.governance.audit_files import tail_of  # noqa: PLC0415
    from rag.governance.audit_lines import chains  # noqa: PLC0415
    from rag.governance.audit_writer import places_of  # noqa: PLC0415

    settings = load_settings()
    keys, places = _keys(settings), places_of(settings)
    heads, broken = {}, []
    for chain in chains(places.folder):
        tail = tail_of(chain, places.spool_dir / f"{chain.name}.jsonl", keys.chain)
        if tail is None:
            broken.append(chain.name)
        elif tail.seq >= 0:
            heads[chain.name] = Head(tail.seq, tail.mac)
    try:
        write_anchor(file, heads, keys)
    except OSError as error:
        raise StorageUnavailable(
            f"{file} cannot be written ({error.strerror}); name a file that is not there"
        ) from error
    click.echo(f"{len(heads)} heads in {file}, signed by {keys.public}")
    for name in broken:
        click.secho(f"the end of chain {name} cannot be checked: run `banksight audit verify`", fg="red", err=True)
    return 1 if broken else 0


@audit.command()
@click.argument("receipt")
@click.option("--open", "opening", is_flag=True, help="Show also what was asked, while the person's key is there.")
def show(receipt: str, *, opening: bool) -> None:
    """Print the records of RECEIPT as JSON."""
    from rag.governance.audit_reading import records_of  # noqa: PLC0415
    from rag.governance.audit_writer import places_of  # noqa: PLC0415
    from rag.governance.replaying import opened_request  # noqa: PLC0415
    from rag.governance.subjects import SubjectKeys  # noqa: PLC0415
    from rag.storage.database import open_database  # noqa: PLC0415

    settings = load_settings()
    keys = _keys(settings)
    records = records_of(receipt, places_of(settings), keys.chain)
    told: dict[str, Any] = {"id": receipt, "records": [asdict(each) for each in records]}
    if opening:
        database = open_database(settings.database_url)
        try:
            told["opened"] = opened_request(records, SubjectKeys(database, keys))
        finally:
            database.dispose()
    print_json(told)


@audit.command()
@click.option("--keep-days", type=click.IntRange(1), help="  [default: audit.keep_days]")
def prune(*, keep_days: int | None) -> None:
    """Delete whole days that are older than they must be kept. The trail says so, and can be checked afterwards."""
    from rag.governance.audit_reading import prune as delete  # noqa: PLC0415

    settings = load_settings()
    with _writer(settings) as writer:
        gone = delete(writer.places, writer, keep_days or settings.audit.keep_days)
    click.echo(f"{len(gone)} days of chains deleted")


@audit.command()
@click.argument("receipts", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def replay(receipts: tuple[str, ...], *, as_json: bool) -> int:
    """Answer the question of each of RECEIPTS again, with the same rights on the same day, and say what differs.

    Exit code 1 when something does. Stop a running BankSight first.
    """
    from rag.governance.replaying import replay as again  # noqa: PLC0415

    with opened(load_settings()) as workspace:
        found = [again(workspace, each) for each in receipts]
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        for each in found:
            click.secho(
                f"{each.receipt_id}: {'the same' if each.same else 'differs'}", fg=None if each.same else "yellow"
            )
            for line in each.differences:
                click.echo(f"  {line}")
    return 0 if all(each.same for each in found) else 1


def _keys(settings: Settings) -> AuditKeys:
    from rag.governance.audit_lines import audit_keys  # noqa: PLC0415

    return audit_keys(settings.audit.secret.get_secret_value(), settings.data_dir)


@contextmanager
def _writer(settings: Settings) -> Iterator[AuditWriter]:
    from rag.governance.audit_writer import AuditWriter, places_of  # noqa: PLC0415

    writer = AuditWriter(places_of(settings), _keys(settings))
    try:
        yield writer
    finally:
        writer.close()
