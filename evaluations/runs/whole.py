"""Runs that may be judged: complete, and scored item by item. What was cut is refused, never taken for a whole."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from evaluations.compare.comparing import ScoredItem, ScoredRun
from evaluations.report.document import Direction
from evaluations.runs.records import ItemRecord, ItemScores, RunInfo
from evaluations.runs.store import RunStore
from rag.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A complete run with all of its items and scores."""

    info: RunInfo
    items: tuple[ItemRecord, ...]
    scores: tuple[ItemScores, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all scores in a fixed order, as hexadecimal: what a decision about this run was based on."""
        rows = sorted((asdict(each) for each in self.scores), key=lambda row: (row["item"], row["repeat"]))
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def read_whole(store: RunStore, run_id: str) -> WholeRun:
    """The run. Raises `NotFound`, and `ConfigurationError` when it is not complete or not scored."""
    info = store.run(run_id)
    if info.state != "complete":
        raise ConfigurationError(
            f"the run {info.id} is not complete ({info.state}); finish it with `banksight evaluate run {info.suite} "
            f"--resume {info.id}`"
        )
    items, scores = store.items(info.id), store.scores(info.id)
    unscored = {(each.item, each.repeat) for each in items} ^ {(each.item, each.repeat) for each in scores}
    if unscored or len(items) != info.planned:
        raise ConfigurationError(
            f"the run {info.id} has {len(items)} of {info.planned} items, and scores for {len(scores)}; "
            f"score it again with `banksight evaluate score {info.id}`"
        )
    return WholeRun(info, tuple(items), tuple(scores))


def scored_run(run: WholeRun, direction_of: Callable[[str], Direction]) -> ScoredRun:
    """The run as `compare` and `gate` see it: repeats of an item are averaged."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for scored in run.scores:
        for metric, value in scored.metrics.items():
            values[scored.item][metric].append(value)
    first = {each.item: each for each in reversed(run.items)}
    metrics = sorted({metric for each in values.values() for metric in each})
    return ScoredRun(
        name=run.info.id,
        data=run.info.fingerprints.data,
        directions={metric: direction_of(metric) for metric in metrics},
        items=tuple(_item(first[key], values[key]) for key in dict.fromkeys(each.item for each in run.items)),
    )


def _item(record: ItemRecord, values: dict[str, list[float]]) -> ScoredItem:
    averaged = {metric: _mean(each) for metric, each in values.items()}
    return ScoredItem(record.item, record.cluster or record.item, record.slices, averaged)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def means(items: Iterable[ScoredItem]) -> dict[str, float]:
    """The mean of every metric over the items that have it."""
    collected: dict[str, list[float]] = defaultdict(list)
    for item in items:
        for metric, value in item.values.items():
            collected[metric].append(value)
    return {metric: _mean(values) for metric, values in collected.items()}
