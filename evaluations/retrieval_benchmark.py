"""How well passages are found, next to MiniLM alone, BM25 alone and reciprocal rank fusion, through the real pipeline.

    python -m evaluations.retrieval_benchmark [--data FOLDER] [--only NAME]

The folder holds `obliqa`, `cfpb-regs` (BEIR's form) and `financebench` (PDFs). Each corpus is ingested as users'
documents are, into a data folder that is kept, so that a second run only searches. All figures come from `Searcher`,
the code that serves users: MiniLM alone is its weight 1, BM25 alone its weight 0, both without our additions.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from evaluations.datasets.beir import Collection, RulebookConnector, read_collection
from evaluations.datasets.filings import Filings, read_filings
from evaluations.metrics.retrieval import hit_at_k, mrr_at_k, ndcg_at_k, recall_at_k
from evaluations.peers.reciprocal_ranks import CONSTANT, reciprocal_ranks
from evaluations.timing import percentile, table
from rag.bootstrap import Workspace, open_workspace
from rag.domain import Passage, SearchFilter
from rag.errors import BankSightError, IndexMismatch
from rag.ingestion.run import Progress, Source
from rag.query.retrieval import Searcher
from rag.settings import CollectionSettings, Settings, load_settings

DATA_VARIABLE = "BANKSIGHT_EVALUATION_DATA"
BESIDE = Path(__file__).parent.parent.parent / "shared" / "data"
CACHE = Path(__file__).parent.parent / "var" / "retrieval-benchmark"

Kind = Literal["rulebooks", "filings"]
Ranking = list[str]
RankingOf = Callable[[str], Ranking]
# Each data set, its form, and the collection whose own weight it is measured with.
SETS: Mapping[str, tuple[Kind, str]] = {
    "obliqa": ("rulebooks", "regulations"),
    "cfpb-regs": ("rulebooks", "regulations"),
    "financebench": ("filings", "filings"),
}
_DEPTH = 100  # passages taken from each search before they are mapped to labelled passages or pages
_ALONE: Mapping[str, Any] = {"name_weight": 0.0, "figure_hints": "off"}


@dataclass(frozen=True, slots=True)
class Task:
    """One corpus ready to be searched: questions, labels, and the labelled thing that a passage stands for."""

    name: str
    collection: str
    workspace: Workspace
    questions: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]
    place: Callable[[Passage], str]


@dataclass(frozen=True, slots=True)
class Row:
    """Means over all questions of one system on one corpus."""

    system: str
    figures: tuple[float, ...]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help=f"Default: {DATA_VARIABLE}, then shared/data beside us.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Where ingested corpora are kept.")
@click.option("--only", multiple=True, type=click.Choice(list(SETS)), help="Only this data set; may be repeated.")
def main(data: Path | None, cache: Path, only: tuple[str, ...]) -> None:
    """Print one table for each data set."""
    folder = data or Path(os.environ.get(DATA_VARIABLE) or BESIDE)
    names = [name for name in SETS if name in (only or SETS)]
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise click.ClickException(
            f"{folder} has no {' and no '.join(missing)}: name the folder of the evaluation data with --data or "
            f"{DATA_VARIABLE}, or choose with --only"
        )
    for name in names:
        with opened(name, folder / name, cache) as task:
            click.echo(measured(task))


def measured(task: Task) -> str:
    """The table of one corpus, with the time that a search takes."""
    rows = [_row(task, system, ranking_of) for system, ranking_of in _systems(task)]
    heading = ("system", "page hit@5", "page hit@10", "MRR@10") if _is_filings(task) else _HEADING
    lines = [heading, *((row.system, *(f"{figure:.4f}" for figure in row.figures)) for row in rows)]
    return f"\n{task.name}: {len(task.questions):,} questions, {_size(task)}\n{table(lines)}\n{_latency(task)}"


_HEADING = ("system", "nDCG@10", "R@10", "MRR@10")


def _row(task: Task, system: str, ranking_of: RankingOf) -> Row:
    scored = [_figures(task, ranking_of(question), task.relevant[key]) for key, question in task.questions.items()]
    return Row(system, tuple(sum(column) / len(scored) for column in zip(*scored, strict=True)))


def _figures(task: Task, ranking: Sequence[str], relevant: frozenset[str]) -> tuple[float, ...]:
    if _is_filings(task):
        return hit_at_k(ranking, relevant, 5), hit_at_k(ranking, relevant, 10), mrr_at_k(ranking, relevant, 10)
    return ndcg_at_k(ranking, relevant, 10), recall_at_k(ranking, relevant, 10), mrr_at_k(ranking, relevant, 10)


def _systems(task: Task) -> Iterator[tuple[str, RankingOf]]:
    own = task.workspace.settings.collections.get(task.collection)
    default = task.workspace.settings.retrieval.dense_weight
    dense, lexical = _ranker(task, {**_ALONE, "dense_weight": 1.0}), _ranker(task, {**_ALONE, "dense_weight": 0.0})
    yield "MiniLM alone", dense
    yield "BM25 alone", lexical
    yield f"RRF, k={CONSTANT}", lambda question: reciprocal_ranks(dense(question), lexical(question))
    yield f"ours, default weight {default}", _ranker(task, {})
    if own is not None:
        yield f"ours, own weight {own.dense_weight}", _ranker(task, {}, {task.collection: own})


def _ranker(
    task: Task, changes: Mapping[str, Any], collections: Mapping[str, CollectionSettings] | None = None
) -> RankingOf:
    workspace = task.workspace
    searcher = Searcher(
        workspace.embedding,
        workspace.stores.vectors,
        workspace.stores.lexical,
        workspace.catalog,
        workspace.registry,
        workspace.settings.retrieval.model_copy(update=dict(changes)),
        collections or {},
    )
    remembered: dict[str, Ranking] = {}

    def ranking_of(question: str) -> Ranking:
        if question not in remembered:
            passages = searcher.search(question, workspace.principal(), SearchFilter(), _DEPTH)
            remembered[question] = list(dict.fromkeys(task.place(passage) for passage in passages))
        return remembered[question]

    return ranking_of


def _latency(task: Task) -> str:
    searcher, principal = task.workspace.searcher, task.workspace.principal()
    seconds, processor = [], time.process_time()
    for question in list(task.questions.values())[:200]:
        started = time.perf_counter()
        searcher.search(question, principal, SearchFilter(), task.workspace.settings.retrieval.top_k)
        seconds.append(time.perf_counter() - started)
    used = (time.process_time() - processor) / len(seconds)
    middle, slow = percentile(seconds, 0.5), percentile(seconds, 0.95)
    return f"one search: p50 {middle * 1000:.1f} ms, p95 {slow * 1000:.1f} ms, {used * 1000:.1f} ms of processor time"


def _size(task: Task) -> str:
    totals = task.workspace.registry.totals()
    return ", ".join(f"{count:,} {name}" for name, count in totals.items() if count)


def _is_filings(task: Task) -> bool:
    return SETS[task.name][0] == "filings"


class opened:  # noqa: N801  reads as a statement: with opened(...) as task
    """A corpus, ingested if it was not, in a workspace that is closed at the end."""

    def __init__(self, name: str, folder: Path, cache: Path) -> None:
        self._name, self._folder, self._data = name, folder, cache / name
        self._workspace: Workspace | None = None

    def __enter__(self) -> Task:
        kind, collection = SETS[self._name]
        if kind == "filings":
            filings = read_filings(self._folder)
            settings = _settings(self._data, [_pdf_source(filings, collection)])
            self._workspace = workspace = _open(settings)
            workspace.ingest(progress=_show)
            return _filings_task(self._name, collection, workspace, filings)
        rulebooks = read_collection(self._folder)
        self._workspace = workspace = _open(_settings(self._data, []))
        workspace.ingest_from([Source(RulebookConnector(rulebooks), collection)], _show, mass_delete="allow")
        return _rulebooks_task(self._name, collection, workspace, rulebooks)

    def __exit__(self, *_: object) -> None:
        if self._workspace is not None:
            self._workspace.close()


def _settings(data: Path, sources: list[dict[str, str]]) -> Settings:
    """What the laptop profile ships, with other sources and another data folder."""
    return load_settings("laptop", environment={}, overrides={"data_dir": str(data.resolve()), "sources": sources})


def _pdf_source(filings: Filings, collection: str) -> dict[str, str]:
    return {"name": "filings", "collection": collection, "root": str(filings.pdfs.resolve())}


def _open(settings: Settings) -> Workspace:
    """The workspace; one that an older version made is made anew."""
    try:
        return open_workspace(settings)
    except IndexMismatch:
        shutil.rmtree(settings.data_dir)
        return open_workspace(settings)


def _rulebooks_task(name: str, collection: str, workspace: Workspace, rulebooks: Collection) -> Task:
    passage_ids = {rulebook.name: rulebook.passage_ids for rulebook in rulebooks.rulebooks}
    uris = {document.id: document.uri for document in workspace.registry.documents()}

    def place(passage: Passage) -> str:
        return passage_ids[uris[passage.document_id]][passage.page - 1]

    return Task(name, collection, workspace, rulebooks.questions, rulebooks.relevant, place)


def _filings_task(name: str, collection: str, workspace: Workspace, filings: Filings) -> Task:
    stems = {document.id: Path(document.uri.removeprefix("file:")).stem for document in workspace.registry.documents()}

    def place(passage: Passage) -> str:
        return f"{stems[passage.document_id]} {passage.page}"

    relevant = {key: frozenset(f"{file} {page}" for file, page in pages) for key, pages in filings.evidence.items()}
    return Task(name, collection, workspace, filings.questions, relevant, place)


def _show(progress: Progress) -> None:
    if progress.total:
        click.echo(f"\r{progress.done}/{progress.total} documents, {progress.chunks:,} chunks ", err=True, nl=False)


if __name__ == "__main__":
    try:
        main()
    except BankSightError as error:
        sys.exit(f"Error: {error}")
