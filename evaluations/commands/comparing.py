"""`banksight evaluate compare` and `trend`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from evaluations.commands.options import opened_store, runs_option
from evaluations.compare.comparing import compare as compare_runs
from evaluations.compare.showing import compared_as_text, trend_as_text
from evaluations.metrics.directions import direction_of
from evaluations.runs.whole import means, read_whole, scored_run
from rag.errors import NotFound


@click.command()
@click.argument("before")
@click.argument("after")
@runs_option
@click.option("--different-data", is_flag=True, help="Compare what both runs have, though their data differ.")
@click.option("--resamples", default=10_000, show_default=True, type=click.IntRange(100, 100_000))
@click.option("--seed", default=0, show_default=True, help="Of the resampling: the same seed gives the same figures.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with every regressed item.")
def compare(
    *, before: str, after: str, runs: Path, different_data: bool, resamples: int, seed: int, as_json: bool
) -> None:
    """Is the run AFTER better than BEFORE, and how sure is that? Item by item, with what cannot be told said so."""
    with opened_store(runs) as store:
        one, two = (scored_run(read_whole(store, each), direction_of) for each in (before, after))
    found = compare_runs(one, two, different_data=different_data, resamples=resamples, seed=seed)
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        click.echo(compared_as_text(found))


@click.command()
@click.argument("suite")
@runs_option
@click.option("--last", default=10, show_default=True, type=click.IntRange(2, 50), help="How many runs.")
@click.option("--metric", "chosen", multiple=True, help="Only this metric; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def trend(*, suite: str, runs: Path, last: int, chosen: tuple[str, ...], as_json: bool) -> None:
    """The metrics of the last complete runs of a SUITE, oldest first."""
    with opened_store(runs) as store:
        complete = [each for each in store.runs(suite) if each.state == "complete"][-last:]
        if not complete:
            raise NotFound(f"there is no complete run of {suite!r}; make one with `banksight evaluate run {suite}`")
        scored = [scored_run(read_whole(store, each.id), direction_of) for each in complete]
    averages = [means(each.items) for each in scored]
    metrics = [name for name in scored[-1].directions if not chosen or name in chosen]
    rows = {name: [each.get(name) for each in averages] for name in metrics}
    notes = [
        f"{info.id} ran on other data than the last run: its figures are not comparable"
        for info, each in zip(complete, scored, strict=True)
        if each.data != scored[-1].data
    ]
    if as_json:
        shown = {"runs": [asdict(each) for each in complete], "metrics": rows, "notes": notes}
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        started = [each.started[5:16].replace("T", " ") for each in complete]
        click.echo(trend_as_text(started, rows, notes))
