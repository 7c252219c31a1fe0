"""`banksight evaluate counterfactual`: change the index for real, and see what answers then may not say."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluations.commands.options import CORPORA, opened_store, runs_option
from evaluations.commands.show import written
from evaluations.counterfactual.outcomes import DIRECTIONS
from evaluations.counterfactual.testing import Sample, carry_out, sample
from evaluations.counterfactual.worlds import BookConnector
from evaluations.datasets.beir import Collection, read_collection
from evaluations.datasets.loading import data_path
from evaluations.gate.policy import Floor
from evaluations.runs.records import Fingerprints, Produced, RunInfo
from evaluations.runs.store import RunStore
from evaluations.targets.corpora import settings_of
from evaluations.targets.in_process import PipelineTarget
from rag.bootstrap import Workspace, open_workspace
from rag.domain import Principal, SearchFilter
from rag.ingestion.run import Source
from rag.query.events import AskRequest

SUITE: Final = "counterfactual"
# What must never happen, whatever the data.
PROMISES: Final = tuple(Floor(metric=name, at_most=0.0) for name, way in DIRECTIONS.items() if way == "lower")


@click.command()
@click.argument("data", default="cfpb-regs")
@click.option("--documents", default=8, show_default=True, type=click.IntRange(1), help="Documents in the small index.")
@click.option(
    "--tested", default=4, show_default=True, type=click.IntRange(1), help="... of which are changed in turn."
)
@click.option("--questions", default=5, show_default=True, type=click.IntRange(1), help="Questions of each of those.")
@click.option("--seed", default=0, show_default=True, help="Of the samples.")
@click.option("--profile", default="laptop", show_default=True)
@click.option("--corpora", type=click.Path(path_type=Path), default=CORPORA, help="Where the small index is built.")
@runs_option
def counterfactual(
    *, data: str, documents: int, tested: int, questions: int, seed: int, profile: str, corpora: Path, runs: Path
) -> int:
    """Remove, poison, supersede, copy and lock documents of DATA, and ask the questions that they answer.

    DATA is a folder in BEIR's form with relevance labels, or the name of one below BANKSIGHT_EVALUATION_DATA. The exit
    code is 1 when a promise was broken: an order in a document obeyed, an outdated version cited, a locked one seen.
    """
    folder = Path(data) if Path(data).is_dir() else data_path(data, "external")
    collection = read_collection(folder)
    small = sample(collection, books=documents, tested=tested, questions=questions, seed=seed)
    place = corpora / f"{SUITE}-{collection.name}"
    shutil.rmtree(place, ignore_errors=True)
    settings = settings_of(profile, place, {"sources": [], "ingestion": {"quarantine": "off"}})
    with closing(open_workspace(settings)) as workspace, opened_store(runs) as store:
        info = _carried_out(store, workspace, small, collection)
        click.echo(written(store, info, PROMISES))
        broken = [name for name, value in _means(store, info).items() if DIRECTIONS[name] == "lower" and value > 0]
    return 1 if broken else 0


def _carried_out(store: RunStore, workspace: Workspace, small: Sample, collection: Collection) -> RunInfo:
    """The run, stored as it goes. A cut one stays, as cut: its index is gone, so it cannot go on."""
    target = PipelineTarget(workspace, lambda document_id, page: (f"{document_id} {page}", document_id), "answer", 8)
    told: Fingerprints = target.fingerprints(SUITE, f"{collection.name} {small.digest}")
    unscored = sum(map(len, small.cases.values()))
    info = store.create(SUITE, replace(told, snapshot=""), target.name, small.asked - unscored)
    scores = []

    def ask(workspace: Workspace, question: str, person: Principal, narrow: SearchFilter) -> Produced:  # noqa: ARG001
        return asyncio.run(target.ask(AskRequest(question, narrow=narrow), person))

    try:
        with _bar(small.asked) as advance:
            for record, scored in carry_out(small, workspace, _ingest, ask, advance):
                store.append_item(info.id, record)
                scores.append(scored)
    except BaseException:
        store.finish(info.id, "interrupted")
        raise
    store.put_scores(info.id, scores)
    return store.finish(info.id, "complete")


def _ingest(workspace: Workspace, connector: BookConnector) -> None:
    workspace.ingest_from([Source(connector, "regulations")], mass_delete="allow")


def _means(store: RunStore, info: RunInfo) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for each in store.scores(info.id):
        for metric, value in each.metrics.items():
            values.setdefault(metric, []).append(value)
    return {metric: sum(each) / len(each) for metric, each in values.items()}


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn(SUITE), BarColumn(), MofNCompleteColumn(), TextColumn("remaining"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(SUITE, total=total)
        yield lambda: bar.advance(task)
