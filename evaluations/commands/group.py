"""The group `banksight evaluate`. Imports nothing heavy: `banksight --help` loads this file too."""

from __future__ import annotations

import importlib
from typing import Final

import click

from rag.governance.roles import for_roles

_PLACES: Final = {
    "collect": "evaluations.commands.drafting:collect",
    "compare": "evaluations.commands.comparing:compare",
    "counterfactual": "evaluations.commands.counterfactual:counterfactual",
    "gate": "evaluations.commands.gate:gate",
    "judge": "evaluations.commands.judging:judge",
    "judge-check": "evaluations.commands.judging:judge_check",
    "keys": "evaluations.commands.gate:keys",
    "list": "evaluations.commands.listing:list_runs",
    "report": "evaluations.commands.report:report",
    "run": "evaluations.commands.run:run",
    "score": "evaluations.commands.score:score",
    "show": "evaluations.commands.show:show",
    "synthesize": "evaluations.commands.drafting:synthesize",
    "trend": "evaluations.commands.comparing:trend",
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


@for_roles("operator")
@click.group(cls=_LazyGroup)
def evaluate() -> None:
    """Measure how good the answers are: run suites, look at runs, compare them, decide on a release."""
