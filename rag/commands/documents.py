"""`banksight documents`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from rag.commands.place import print_json, workspace_or_remote
from rag.errors import ConfigurationError
from rag.governance.roles import for_roles
from rag.remote import RemoteWorkspace


@for_roles("operator")
@click.group()
def documents() -> None:
    """List, show and delete documents."""


@for_roles("user", "operator")
@documents.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--state", help="Only documents in this state, such as indexed or failed.")
def list_documents(*, as_json: bool, state: str | None) -> None:
    """Every document with its state, pages and chunks."""
    with workspace_or_remote(access="read") as place:
        found = (
            place.documents()
            if isinstance(place, RemoteWorkspace)
            else [asdict(each) for each in place.documents(place.principal())]
        )
    found = [each for each in found if state in (None, each["state"])]
    if as_json:
        print_json(found)
        return
    for each in found:
        amount = f"{each['pages']:>4} pages {each['chunks']:>5} chunks"
        click.echo(f"{each['id']}  {each['state']:<11} {amount}  {each['collection']:<12} {each['title']}")
    click.echo(f"{len(found)} documents")


@for_roles("user", "operator")
@documents.command()
@click.argument("document_id")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(document_id: str, *, as_json: bool) -> None:
    """What is known of one document."""
    with workspace_or_remote(access="read") as place:
        found: dict[str, Any] = (
            place.document(document_id)
            if isinstance(place, RemoteWorkspace)
            else asdict(place.document(document_id, place.principal()))
        )
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        shown = ", ".join(sorted(value)) if isinstance(value, (list, set, frozenset)) else value
        if shown not in ("", None):
            click.echo(f"{key:<16} {shown}")


@documents.command()
@click.argument("document_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(document_id: str, *, yes: bool) -> None:
    """Delete a document from the index. Its source file stays and is not taken in again until it is restored."""
    with workspace_or_remote(access="read") as place:
        if isinstance(place, RemoteWorkspace):
            title = place.document(document_id)["title"]
        else:
            title = place.document(document_id, place.principal()).title
        if not yes:
            click.confirm(f"Delete {title!r} from the index?", abort=True)
        if isinstance(place, RemoteWorkspace):
            place.delete_document(document_id)
        else:
            place.delete_document(document_id, place.principal())
    click.echo(f"deleted {document_id} ({title})")


@documents.command()
@click.argument("document_id")
def restore(document_id: str) -> None:
    """Let the next `banksight ingest` take a deleted document in again."""
    with workspace_or_remote() as place:
        if isinstance(place, RemoteWorkspace):
            raise ConfigurationError("stop the running BankSight first; restoring works on the data folder itself")
        title = place.restore_document(document_id, place.principal()).title
    click.echo(f"{title!r} comes back with the next `banksight ingest`")


@documents.command()
@click.argument("document_id")
@click.argument("labels", nargs=-1)
def label(document_id: str, labels: tuple[str, ...]) -> None:
    """Make LABELS those that a document has besides the labels of its source; none takes them all off again.

    It counts within a second on every node, also while documents are ingested, and stays when the document is read
    again. Labels of the source are taken off in its sidecar.
    """
    with workspace_or_remote(access="read") as place:
        found: dict[str, Any] = (
            place.label_document(document_id, labels)
            if isinstance(place, RemoteWorkspace)
            else asdict(place.label_document(document_id, labels, place.principal()))
        )
    click.echo(f"{document_id} ({found['title']}) needs: {', '.join(sorted(found['access'])) or 'nothing'}")
