"""Which roles may use which route and which command, as the code says: `python -m bentos.roles` prints the tables.

`python -m bentos.roles docs/security.md` renews them there, between the two comment lines.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from bentos.application import create_app
from bentos.opening import Opening
from bentos.principals import all_routes, stated
from rag.cli import banksight
from rag.governance.roles import expanded, stated_roles
from rag.settings import Settings, load_settings
from rag.settings.identity import ROLES, Role

BEGIN, END = "<!-- roles: begin -->", "<!-- roles: end -->"
_ADMIN: frozenset[Role] = frozenset({"admin"})
_UI: frozenset[Role] = frozenset({"operator"})  # it imports nothing of ours, so its command cannot say it itself


def routes(settings: Settings) -> Iterator[tuple[str, frozenset[str]]]:
    """Every route with those roles that may use it; all of them where nobody needs to sign in."""
    app = create_app(Opening(settings, _never))
    for route in all_routes(app):
        roles = stated(route) or _ADMIN
        for method in sorted(route.methods or ()):
            yield f"{method} {route.path}", frozenset({"anyone", *ROLES}) if roles == "anyone" else frozenset(roles)


def commands() -> Iterator[tuple[str, frozenset[Role] | None]]:
    """Every command with what it or its group states; None where neither does."""
    yield from _below(banksight, "banksight", None)


def tables() -> str:
    """Both tables in Markdown."""
    settings = load_settings("test", environment={})
    by_path = sorted(routes(settings), key=lambda each: each[0].split()[::-1])
    used = ((f"`{name}`", roles) for name, roles in by_path)
    run = ((f"`{name}`", roles or _ADMIN) for name, roles in commands())
    return f"{_table('route', used)}\n{_table('command', run)}"


def main(arguments: list[str]) -> None:
    """Print the tables, or renew them in a file."""
    if not arguments:
        sys.stdout.write(tables())
        return
    path = Path(arguments[0])
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{tables()}{END}{rest.partition(END)[2]}", encoding="utf-8")


def _below(
    command: click.Command, name: str, inherited: frozenset[Role] | None
) -> Iterator[tuple[str, frozenset[Role] | None]]:
    roles = stated_roles(command) or (_UI if name == "banksight ui" else inherited)
    if not isinstance(command, click.Group):
        yield name, roles
        return
    context = click.Context(command)
    for each in command.list_commands(context):
        found = command.get_command(context, each)
        if found is not None:
            yield from _below(found, f"{name} {each}", roles)


def _table(kind: str, rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A row for each name, a column for each role; a role may also do what those that it includes may."""
    columns = ("anyone", *ROLES)
    lines = [f"| {kind} | {' | '.join(columns)} |", f"|---|{':-:|' * len(columns)}"]
    for name, roles in rows:
        may = frozenset(roles)
        marks = ["x" if column in may or expanded([column]) & may else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def _never() -> Any:
    raise AssertionError("only the routes are looked at")


if __name__ == "__main__":
    main(sys.argv[1:])
