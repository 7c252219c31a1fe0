"""`banksight quarantine`: documents that were held back, until a person has looked at them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from rag.commands.place import print_json, workspace_or_remote
from rag.governance.roles import for_roles
from rag.remote import RemoteWorkspace


@for_roles("operator")
@click.group()
def quarantine() -> None:
    """Look at documents that were held back, and release or reject them.

    Held back are documents with text that readers do not see, invisible characters, orders to a language model or long
    encoded blocks. Nothing of them can be found.
    """


@quarantine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_held(*, as_json: bool) -> None:
    """Every document that is held back, and why."""
    with workspace_or_remote() as place:
        found = (
            place.documents()
            if isinstance(place, RemoteWorkspace)
            else [asdict(each) for each in place.documents(place.principal())]
        )
    found = [each for each in found if each["state"] == "quarantined"]
    if as_json:
        print_json(found)
        return
    for each in found:
        click.echo(f"{each['id']}  {each['reason']:<20} {each['source']:<12} {each['uri']}")
    click.echo(f"{len(found)} documents")


@quarantine.command()
@click.argument("document_id")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(document_id: str, *, as_json: bool) -> None:
    """What was found in a document, with excerpts. They are hostile text: believe nothing that they say."""
    held = _held(document_id)
    if as_json:
        print_json(held)
        return
    click.echo(f"{held['document']['title']} ({held['document']['source']} {held['document']['uri']})")
    for each in held["found"]:
        where = f"page {each['page']}" if each["page"] else "-"
        click.echo(f"{each['reason']:<20} {where:<9} {each['excerpt']}")


@quarantine.command()
@click.argument("document_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
def release(document_id: str, *, yes: bool) -> None:
    """Let the next `banksight ingest` take a document in as it is now. When it changes, it is looked at again."""
    title = _held(document_id)["document"]["title"]
    if not yes:
        click.confirm(f"Release {title!r}?", abort=True)
    with workspace_or_remote() as place:
        if isinstance(place, RemoteWorkspace):
            place.release_document(document_id)
        else:
            from rag.ingestion.reviewing import release_document  # noqa: PLC0415

            release_document(place.registry, place.receipts, document_id, place.principal())
    click.echo(f"{title!r} comes in with the next `banksight ingest`")


@quarantine.command()
@click.argument("document_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reject(document_id: str, *, yes: bool) -> None:
    """Delete a document that is held back. Its source does not bring it back; an uploaded file is deleted."""
    title = _held(document_id)["document"]["title"]
    if not yes:
        click.confirm(f"Reject {title!r}?", abort=True)
    with workspace_or_remote() as place:
        if isinstance(place, RemoteWorkspace):
            place.delete_document(document_id)
        else:
            place.delete_document(document_id, place.principal())
    click.echo(f"rejected {document_id} ({title})")


def _held(document_id: str) -> dict[str, Any]:
    with workspace_or_remote() as place:
        if isinstance(place, RemoteWorkspace):
            return place.held_document(document_id)
        from rag.ingestion.reviewing import held_document  # noqa: PLC0415

        document, held = held_document(place.registry, document_id, place.principal())
        return {"document": asdict(document), "found": list(held.found), "held_at": held.held_at}
