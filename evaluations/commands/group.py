"""The group `banksight evaluate`. Imports nothing heavy: `banksight --help` loads this file too."""

from __future__ import annotations

import importlib
from typing import Final

import click

_PLACES: Final = {
    "list": "evaluations.commands.listing:list_runs",
    "run": "evaluations.commands.run:run",
    "score": "evaluations.commands.score:score",
    "show": "evaluations.commands.show:show",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of all commands."""
        return sorted(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now; None for an unknown name."""
        if cmd_name not in _PLACES:
            return None
        module, _, name = _PLACES[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_LazyGroup)
def evaluate() -> None:
    """Measure how good the answers are: run suites, look at runs, compare them, decide on a release."""
