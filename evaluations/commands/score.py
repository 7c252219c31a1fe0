"""`banksight evaluate score`: score what a run produced, again, with the metrics as they are now."""

from __future__ import annotations

from pathlib import Path

import click

from evaluations.commands.options import runs_option
from evaluations.commands.show import written
from evaluations.runs.running import rescore
from evaluations.runs.store import RunStore
from evaluations.suites.loading import find_suite


@click.command()
@click.argument("run")
@click.option("--suite", help="The path of the suite, where it is none of those that come with BankSight.")
@runs_option
def score(run: str, suite: str | None, runs: Path) -> int:
    """Score RUN again without producing anything. Earlier scores stay beside the new ones."""
    store = RunStore.open(runs)
    try:
        info = store.run(run)
        chosen = find_suite(suite or info.suite)
        rescore(chosen, store, info.id)
        click.echo(written(store, info, chosen.thresholds))
    finally:
        store.close()
    return 0
