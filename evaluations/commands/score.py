"""`banksight evaluate score`: score what a run produced, again, with the metrics as they are now."""

from __future__ import annotations

from pathlib import Path

import click

from evaluations.commands.options import opened_store, runs_option
from evaluations.commands.show import written
from evaluations.runs.running import rescore, suite_of
from evaluations.suites.loading import find_suite
from rag.errors import ConfigurationError


@click.command()
@click.argument("run")
@click.option("--suite", "changed", help="Another suite over the same data.  [default: as it was when RUN was made]")
@runs_option
def score(run: str, changed: str | None, runs: Path) -> int:
    """Score RUN again without producing anything. Earlier scores stay beside the new ones."""
    with opened_store(runs) as store:
        info = store.run(run)
        suite = find_suite(changed) if changed else suite_of(store, info.id)
        if suite is None:
            raise ConfigurationError(f"the run {info.id} was made by no suite, so there is nothing to score it with")
        rescore(suite, store, info.id)
        click.echo(written(store, info, suite.thresholds))
    return 0
