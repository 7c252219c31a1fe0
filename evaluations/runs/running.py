"""One run of one suite, from its data to its scores."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluations.datasets.items import DataSet, Item
from evaluations.datasets.loading import load
from evaluations.metrics.catalog import Metric, metric, require_fit
from evaluations.runs.producing import Again, produce, still_to_do
from evaluations.runs.records import Fingerprints, RunInfo
from evaluations.runs.scoring import score
from evaluations.runs.store import RunStore
from evaluations.suites.schema import DataSource, Suite
from evaluations.targets.base import Target
from evaluations.targets.corpora import Show, folder_name, opened
from evaluations.targets.in_process import CheckTarget, PipelineTarget
from rag.errors import ConfigurationError

MakeTarget = Callable[[], Target]


@dataclass(frozen=True, slots=True)
class Plan:
    """A suite with its data read, each data set beside what it is given to."""

    suite: Suite
    data: tuple[DataSet, ...]
    targets: tuple[Target, ...]
    metrics: tuple[Metric, ...]
    fingerprints: Fingerprints
    left_out: tuple[str, ...] = ()

    @property
    def items(self) -> dict[str, Item]:
        """All items by their id."""
        return {item.id: item for each in self.data for item in each.items}


def suite_of(store: RunStore, run_id: str) -> Suite | None:
    """The suite that a run was made by, as it was then; None for a run that no suite made."""
    kept = store.suite(run_id)
    return Suite.model_validate_json(kept) if kept else None


def read_data(suite: Suite) -> tuple[DataSet, ...]:
    """The data sets of a suite. Raises `DataError` or `ConfigurationError`."""
    return tuple(load(source, suite.seed) for source in suite.data)


@contextmanager
def planned(
    suite: Suite, cache: Path, *, limit: int | None = None, endpoint: MakeTarget | None = None, show: Show
) -> Iterator[Plan]:
    """The suite ready to be run: data checked, corpora ingested, metrics fitting. Closed at the end.

    Only the first `limit` items of each data set are planned; a metric may fit later ones alone. An endpoint that does
    not give what a metric needs, such as passages, is judged without that metric.
    """
    whole = read_data(suite)
    data = tuple(replace(each, items=each.items[:limit]) for each in whole)
    metrics = tuple(metric(name) for name in suite.metrics)
    with ExitStack() as open_things:
        if endpoint is not None and suite.task != "verify":
            one = endpoint()
            targets: list[Target] = [one for _ in data]
        else:
            targets = _pipelines(suite, data, cache, show, open_things)
        gives = frozenset.intersection(*(each.gives for each in targets))
        fingerprints = _fingerprints(suite, data, targets, limit)
        left_out = tuple(each.name for each in metrics if endpoint is not None and each.gives not in gives)
        suite = _without(suite, left_out)
        metrics = tuple(each for each in metrics if each.name not in left_out)
        require_fit(metrics, (item for each in whole for item in each.items), gives, targets[0].name)
        yield Plan(suite, data, tuple(targets), metrics, fingerprints, left_out)


def _without(suite: Suite, metrics: Sequence[str]) -> Suite:
    """The suite without these metrics and without their thresholds. Raises `ConfigurationError` when none is left."""
    if not metrics:
        return suite
    left = [name for name in suite.metrics if name not in metrics]
    if not left:
        raise ConfigurationError(f"the endpoint gives nothing that the suite {suite.name} measures; choose another")
    floors = [each for each in suite.thresholds if each.metric in left]
    return suite.model_copy(update={"metrics": tuple(left), "thresholds": tuple(floors)})


def start(plan: Plan, store: RunStore, resume: str | None, again: Again) -> RunInfo:
    """A new run, or a cut one that goes on. Raises `ConfigurationError` when that one was made of something else."""
    planned_items = len(plan.items) * plan.suite.repeats
    if resume is None:
        info = store.create(plan.suite.name, plan.fingerprints, plan.targets[0].name, planned_items, plan.left_out)
        store.keep_suite(info.id, plan.suite.model_dump_json())
        return info
    info = store.run(resume)
    if info.state == "complete" and again == "missing":
        raise ConfigurationError(
            f"the run {info.id} is complete; give --retry-failed to produce its failed items again"
        )
    before, now = asdict(info.fingerprints), asdict(plan.fingerprints)
    changed = [name for name in before if before[name] != now[name] and name != "machine"]
    if changed or info.target != plan.targets[0].name:
        raise ConfigurationError(
            f"the run {info.id} cannot go on, because since then {' and '.join(changed or ['the target'])} changed; "
            "start a new run"
        )
    return store.resume(info.id)


def carry_out(
    plan: Plan, store: RunStore, info: RunInfo, again: Again, begin: Callable[[int], Callable[[], None]]
) -> RunInfo:
    """Produce what is missing, score everything, and mark the run complete; interrupted when it was cut.

    `begin` is told how many items there are to do, and gives what is called after each.
    """
    try:
        asyncio.run(_produce_all(plan, store, info, again, begin))
    except BaseException:
        store.finish(info.id, "interrupted")
        raise
    store.put_scores(info.id, score(store.items(info.id), plan.items, plan.metrics))
    return store.finish(info.id, "complete")


def rescore(suite: Suite, store: RunStore, run_id: str) -> None:
    """Score what a complete run produced, anew. Raises `ConfigurationError` when it is cut or its data changed."""
    info, records = store.run(run_id), store.items(run_id)
    data = read_data(suite)
    if info.state != "complete":
        raise ConfigurationError(
            f"the run {info.id} is not complete; go on with `banksight evaluate run {info.suite} --resume {info.id}`"
        )
    items = {item.id: item for each in data for item in each.items}
    if info.fingerprints.data != _digest([each.digest for each in data]):
        raise ConfigurationError(f"the data of {info.suite} changed since the run {info.id}; run the suite again")
    store.put_scores(run_id, score(records, items, [metric(name) for name in suite.metrics]))


async def _produce_all(
    plan: Plan, store: RunStore, info: RunInfo, again: Again, begin: Callable[[int], Callable[[], None]]
) -> None:
    done = store.items(info.id)
    todo = [still_to_do(each.items, plan.suite.repeats, done, again) for each in plan.data]
    advance = begin(sum(map(len, todo)))
    for work, target in zip(todo, plan.targets, strict=True):
        await produce(store, info.id, work, target, plan.suite.workers, advance)


def _pipelines(suite: Suite, data: Sequence[DataSet], cache: Path, show: Show, open_things: ExitStack) -> list[Target]:
    made: dict[str, Target] = {}
    targets = []
    for source, each in zip(suite.data, data, strict=True):
        if suite.task == "verify":
            targets.append(made.setdefault("", CheckTarget()))
            continue
        name = folder_name(source)
        if name not in made:
            made[name] = _pipeline(suite, source, each, cache, show, open_things)
        targets.append(made[name])
    return targets


def _pipeline(
    suite: Suite, source: DataSource, data: DataSet, cache: Path, show: Show, open_things: ExitStack
) -> Target:
    if source.corpus.kind == "none":
        raise ConfigurationError(f"the data {source.name!r} have no corpus to ask; add one, or evaluate an endpoint")
    corpus = opened(source, data, suite.profile, suite.overrides, cache, show)
    workspace, place = open_things.enter_context(corpus)
    return PipelineTarget(workspace, place, suite.task, suite.depth)


def _fingerprints(suite: Suite, data: Sequence[DataSet], targets: Sequence[Target], limit: int | None) -> Fingerprints:
    suite_digest = _digest([suite.model_dump(mode="json"), limit])
    data_digest = _digest([each.digest for each in data])
    told = [each.fingerprints(suite_digest, data_digest) for each in dict.fromkeys(targets)]
    if len(told) == 1:
        return told[0]
    return replace(told[0], snapshot=_digest([each.snapshot for each in told]))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
