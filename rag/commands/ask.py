"""`banksight ask`."""

from __future__ import annotations

import asyncio
import textwrap
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

import click

from rag.commands.place import print_json, workspace_or_remote
from rag.governance.roles import for_roles
from rag.remote import RemoteWorkspace

_WIDTH = 100
_STAGES = ("rewrite", "retrieve", "decide", "prompt", "generate", "verify", "abandoned")
_SHOWN_FROM_SECONDS = 0.005


@for_roles("user")
@click.command()
@click.argument("question")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@click.option("--collection", "collections", multiple=True, help="Search only this collection (may be repeated).")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Use the documents in force on this day.")
def ask(question: str, *, as_json: bool, collections: tuple[str, ...], as_of: datetime | None) -> None:
    """Answer QUESTION from the indexed documents, with citations, or say that they do not answer it."""
    day = as_of.date() if as_of else None
    with workspace_or_remote(access="read") as place:
        if isinstance(place, RemoteWorkspace):
            request: dict[str, Any] = {"question": question, "filters": {"collections": list(collections)}}
            answer = place.ask(request | ({"as_of": day.isoformat()} if day else {}))
        else:
            answer = _ask_here(place, question, collections, day)
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _ask_here(workspace: Any, question: str, collections: tuple[str, ...], day: date | None) -> dict[str, Any]:
    from rag.domain import SearchFilter  # noqa: PLC0415
    from rag.query.events import AskRequest  # noqa: PLC0415

    request = AskRequest(question=question, narrow=SearchFilter(as_of=day, collections=collections))
    return asdict(asyncio.run(workspace.answers.ask(request, workspace.principal())))


def _show(answer: dict[str, Any]) -> None:
    for line in answer["text"].splitlines():
        click.echo(line if line.startswith("|") else textwrap.fill(line, _WIDTH))
    if answer.get("notice"):
        click.secho(f"\n{textwrap.fill(answer['notice'], _WIDTH)}", fg="yellow")
    if answer["citations"]:
        click.echo()
    for citation in answer["citations"]:
        heading = citation["section"].rsplit(" > ", 1)[-1]
        place = " · ".join(part for part in dict.fromkeys((citation["title"], heading)) if part)
        click.secho(f"[{citation['marker']}] {place}, page {citation['page']}", bold=True)
        quote = textwrap.shorten(citation["quote"], 300, placeholder=" …")
        click.echo(textwrap.indent(textwrap.fill(f"“{quote}”", _WIDTH - 4), "    "))
    click.secho(f"\n{time_line(answer['timings'], answer['tokens'])}", dim=True)


def time_line(timings: dict[str, float], tokens: dict[str, int]) -> str:
    """Where the time of an answer went, on one line, and the engine's tokens where it counts them."""
    stages = [f"{name} {timings[name]:.2f}" for name in _STAGES if timings.get(name, 0.0) >= _SHOWN_FROM_SECONDS]
    parts = [f"{timings.get('total', 0.0):.1f} s" + (f" ({', '.join(stages)})" if stages else "")]
    if "first_token" in timings:
        parts.append(f"first token after {timings['first_token']:.2f} s")
    if tokens:
        cached = f" ({tokens['cached']} of them cached)" if tokens.get("cached") else ""
        parts.append(f"{tokens.get('prompt', 0)} tokens read{cached}, {tokens.get('completion', 0)} written")
    return " · ".join(parts)
