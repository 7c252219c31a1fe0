"""`banksight evaluate list`: the suites there are, and the runs that were made."""

from __future__ import annotations

from pathlib import Path

import click

from evaluations.commands.options import runs_option
from evaluations.runs.store import RunStore
from evaluations.suites.loading import find_suite, shipped_names
from evaluations.timing import table


@click.command("list")
@runs_option
def list_runs(runs: Path) -> int:
    """List the suites that come with BankSight, and all runs, newest first."""
    suites = [(name, find_suite(name).title) for name in shipped_names()]
    width = max(len(name) for name, _ in suites)
    click.echo("Suites\n" + "\n".join(f"  {name.ljust(width)}  {title}" for name, title in suites))
    store = RunStore.open(runs)
    try:
        rows = [(each.id, each.state, str(each.planned), each.target) for each in reversed(store.runs())]
    finally:
        store.close()
    click.echo("\nRuns\n" + (table([("run", "state", "items", "target"), *rows]) if rows else "  none yet"))
    return 0
