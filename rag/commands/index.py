"""`banksight index`."""

from __future__ import annotations

from dataclasses import asdict

import click

from rag.commands.place import opened, print_json
from rag.governance.roles import for_roles
from rag.settings import load_settings


@for_roles("operator")
@click.group()
def index() -> None:
    """Look after the index."""


@index.command()
@click.option("--repair", is_flag=True, help="Make Chroma and the lexical index equal to the registry.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def check(*, repair: bool, as_json: bool) -> int:
    """Compare registry, Chroma, lexical index and originals id by id.

    Exit code 1 when they differ and were not repaired. Stop a running BankSight first.
    """
    with opened(load_settings()) as workspace:
        found = workspace.check("repair" if repair else "report")
    if as_json:
        print_json({**asdict(found), "agrees": found.agrees})
    else:
        click.echo(f"{found.documents:,} documents, {found.chunks:,} chunks")
        for name, number in asdict(found).items():
            if number and name not in ("documents", "chunks", "repaired"):
                click.secho(f"  {number:,} {name.replace('_', ' ')}", fg="yellow")
        click.echo(_verdict(found.agrees, repair, found.missing_originals or found.damaged_texts))
    return 0 if found.agrees or repair else 1


def _verdict(agrees: bool, repair: bool, lost: int) -> str:  # noqa: FBT001
    if agrees:
        return "registry, Chroma, lexical index and originals agree"
    if not repair:
        return "they differ; `banksight index check --repair` makes them equal to the registry"
    return "repaired" + ("; run `banksight ingest` to read again what was lost or damaged" if lost else "")
