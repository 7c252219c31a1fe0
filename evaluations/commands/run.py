"""`banksight evaluate run`: produce and score a suite; Ctrl-C leaves a run that goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from connectors.errors import ConnectorError
from evaluations.commands.options import CORPORA, runs_option
from evaluations.commands.show import verdicts, written
from evaluations.runs.producing import Again
from evaluations.runs.running import carry_out, planned, start
from evaluations.runs.store import RunStore
from evaluations.suites.loading import find_suite
from evaluations.suites.schema import Suite
from evaluations.targets.base import Target
from evaluations.targets.exchanging import KEY_VARIABLE
from evaluations.targets.http import Api, HttpTarget
from rag.errors import BankSightError, ConfigurationError, NotFound
from rag.ingestion.run import Progress as Ingested

_NOT_RUN: Final = 3  # the exit code of what is not as it must be


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line, for every suite that is run."""

    corpora: Path
    limit: int | None
    resume: str | None
    again: Again
    workers: int | None
    endpoint: Callable[[Suite], Target] | None


@click.command()
@click.argument("suite")
@runs_option
@click.option("--corpora", type=click.Path(path_type=Path), default=CORPORA, help="Where ingested corpora are kept.")
@click.option("--resume", metavar="RUN", help="Go on with this run; `latest` is the last one of the suite.")
@click.option("--retry-failed", is_flag=True, help="Produce failed items again, of the latest run unless --resume.")
@click.option("--limit", type=click.IntRange(1), help="Only the first items of each data set, for trying things out.")
@click.option("--workers", type=click.IntRange(1, 64), help="Items at once.  [default: the suite's]")
@click.option("--target", metavar="URL", help="Evaluate the endpoint there instead of a pipeline in this process.")
@click.option("--api", type=click.Choice(["banksight", "openai"]), default="banksight", help="What the URL speaks.")
@click.option("--model", default="", help="The model to ask for at an endpoint that speaks OpenAI's API.")
@click.option("--timeout", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds for a request.")
def run(  # noqa: PLR0913, PLR0917 - click hands over every option
    suite: str, runs: Path, corpora: Path, resume: str | None, retry_failed: bool, limit: int | None,  # noqa: FBT001
    workers: int | None, target: str | None, api: Api, model: str, timeout: float,
) -> int:  # fmt: skip
    """Run SUITE: the name of a suite that comes with BankSight, or the path of a YAML file.

    A key for an endpoint is read from BANKSIGHT_EVALUATION_API_KEY. The exit code is 1 when an item failed or a
    threshold was missed, 3 when a suite could not be run.
    """
    chosen = find_suite(suite)
    key = os.environ.get(KEY_VARIABLE, "")

    def endpoint(of: Suite) -> Target:
        return HttpTarget(target or "", api, of, model=model, key=key, timeout=timeout)

    options = Options(
        corpora, limit, resume or ("latest" if retry_failed else None), "failed" if retry_failed else "missing",
        workers, endpoint if target else None,
    )  # fmt: skip
    store = RunStore.open(runs)
    try:
        if chosen.includes:
            return _run_all([find_suite(name) for name in chosen.includes], store, options)
        return _run(chosen, store, options, _named(store, chosen.name, options.resume))
    finally:
        store.close()


def _run_all(suites: Sequence[Suite], store: RunStore, options: Options) -> int:
    """One after the other. One that cannot be run is told, and the others are run all the same.

    To go on is to finish the runs that were cut and to begin those that are missing.
    """
    if options.resume not in {None, "latest"}:
        raise ConfigurationError("several suites have no run in common: give `--resume latest`, or run one suite")
    codes = []
    for suite in suites:
        there = store.runs(suite.name) if options.resume else []
        try:
            codes.append(_run(suite, store, options, there[-1].id if there else None, complete="keep"))
        except (BankSightError, ConnectorError) as error:
            click.secho(f"Error: the suite {suite.name} was not run: {error}", fg="red", err=True)
            codes.append(_NOT_RUN)
    return max(codes)


def _run(
    suite: Suite, store: RunStore, options: Options, resume: str | None, complete: Literal["refuse", "keep"] = "refuse"
) -> int:
    """Run it, or go on with a run of it; a complete one of the same things is refused, or kept as it is."""
    if options.workers:
        suite = suite.model_copy(update={"workers": options.workers})
    make = options.endpoint
    endpoint = (lambda: make(suite)) if make else None
    with (
        _bar(suite.name) as (begin, show),
        planned(suite, options.corpora, limit=options.limit, endpoint=endpoint, show=show) as plan,
    ):
        if resume and complete == "keep" and options.again == "missing" and store.run(resume).state == "complete":
            if store.run(resume).fingerprints == plan.fingerprints:
                click.echo(f"{resume} is complete, and nothing has changed since")
                return 0
            resume = None
        info = start(plan, store, resume, options.again)
        try:
            info = carry_out(plan, store, info, options.again, begin)
        except KeyboardInterrupt:
            click.echo(f"cut; go on with: banksight evaluate run {suite.name} --resume {info.id}", err=True)
            raise
    thresholds = plan.suite.thresholds
    click.echo(written(store, info, thresholds))
    failed = any(record.state == "failed" for record in store.items(info.id))
    missed = any(not reached for _, reached in verdicts(store.scores(info.id), store.items(info.id), thresholds))
    return int(failed or missed)


def _named(store: RunStore, suite: str, resume: str | None) -> str | None:
    """The run to go on with; `latest` is the last one of the suite. Raises `NotFound` when it has none."""
    if resume != "latest":
        return resume
    there = store.runs(suite)
    if not there:
        raise NotFound(f"there is no run of {suite} to go on with; leave --resume and --retry-failed out")
    return there[-1].id


@contextmanager
def _bar(name: str) -> Iterator[tuple[Callable[[int], Callable[[], None]], Callable[[Ingested], None]]]:
    """A progress bar with the remaining time on standard error, first for documents, then for items."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("remaining"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        documents = bar.add_task("documents", total=None, visible=False)

        def ingested(done: Ingested) -> None:
            bar.update(documents, total=done.total, completed=done.done, visible=bool(done.total))

        def begin(total: int) -> Callable[[], None]:
            bar.update(documents, visible=False)
            items = bar.add_task(name, total=total)
            return lambda: bar.advance(items)

        yield begin, ingested
