"""`banksight evaluate report`: a run as one page that opens from disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import click

from evaluations.commands.options import opened_store, runs_option
from evaluations.compare.comparing import compare
from evaluations.gate.deciding import figures
from evaluations.gate.judging import judge
from evaluations.gate.policy import Policy
from evaluations.metrics.directions import direction_of
from evaluations.report.building import Reported, build
from evaluations.report.document import Source
from evaluations.report.rendering import to_html, to_json, to_markdown
from evaluations.runs.running import suite_of
from evaluations.runs.store import RunStore
from evaluations.runs.whole import WholeRun, read_whole, scored_run
from evaluations.suites.schema import Suite
from rag.errors import ConfigurationError

Form = Literal["html", "markdown", "json"]
_WRITERS: Final = {"html": to_html, "markdown": to_markdown, "json": to_json}
_ENDINGS: Final = {"html": "html", "markdown": "md", "json": "json"}


@click.command()
@click.argument("run")
@click.option("--against", metavar="RUN", help="Compare with this earlier run.")
@click.option("--different-data", is_flag=True, help="Compare what both have, though their data differ.")
@click.option("--form", type=click.Choice(["html", "markdown", "json"]), default="html", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: RUN.html here]")
@click.option("--partial", is_flag=True, help="Also of a run that was cut; the page says so at its top.")
@runs_option
def report(
    *, run: str, against: str | None, different_data: bool, form: Form, out: Path | None, partial: bool, runs: Path
) -> None:
    """Write RUN as one file: scores, slices, what went wrong, confidence, time, and the data with their licences."""
    with opened_store(runs) as store:
        after = _reported(store, _read(store, run, partial=partial))
        before = _reported(store, read_whole(store, against)) if against else None
    compared = None
    if before:
        found = compare(before.scored, after.scored, different_data=different_data)
        compared = (before, found)
    path = out or Path(f"{after.info.id}.{_ENDINGS[form]}")
    try:
        path.write_text(_WRITERS[form](build(after, compared)), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}); choose another with --out") from error
    click.echo(path)


def _read(store: RunStore, run_id: str, *, partial: bool) -> WholeRun:
    info = store.run(run_id)
    if not partial or info.state == "complete":
        return read_whole(store, info.id)
    items, scores = store.items(info.id), store.scores(info.id)
    if not scores:
        raise ConfigurationError(f"nothing of the run {info.id} was scored; see `banksight evaluate score {info.id}`")
    scored = {(each.item, each.repeat) for each in scores}
    return WholeRun(info, tuple(each for each in items if (each.item, each.repeat) in scored), tuple(scores))


def _reported(store: RunStore, whole: WholeRun) -> Reported:
    suite = suite_of(store, whole.info.id)
    scored = scored_run(whole, direction_of)
    checked = []
    if suite and suite.thresholds:
        policy = Policy(floors=suite.thresholds)
        reached = figures(scored, {each.slice for each in policy.checks})
        checked = judge(policy, reached, None, datetime.now(UTC).date())
    return Reported(
        title=suite.title if suite else whole.info.suite,
        info=whole.info,
        records=whole.items,
        scores=whole.scores,
        scored=scored,
        checked=checked,
        sources=_sources(suite, whole) if suite else (),
        correct="correct",
    )


def _sources(suite: Suite, whole: WholeRun) -> list[Source]:
    counted = {
        source.name: sum(1 for each in whole.items if each.slices.get("data") == source.name) for source in suite.data
    }
    digest = whole.info.fingerprints.data
    return [Source(each.name, each.origin, each.licence, counted[each.name], digest) for each in suite.data]
