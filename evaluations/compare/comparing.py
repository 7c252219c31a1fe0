"""Two runs over the same items: which metrics moved, how sure that is, and which items got worse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from evaluations.compare.statistics import (
    detectable_effect,
    holm,
    mcnemar_p_value,
    mean_intervals,
    outcomes,
    permutation_p_values,
)
from evaluations.report.document import Difference, Direction
from rag.errors import ConfigurationError

Finding = Literal["better", "worse", "cannot tell", "same"]

_LEAST_SLICE: Final = 5  # items; below that, a slice says nothing


class RunsDiffer(ConfigurationError):
    """Two runs cannot be compared item by item."""

    code = "runs_differ"


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One item of a run. `values` holds each metric that applies to it, repeats averaged. `slices`: name -> value."""

    id: str
    cluster: str
    slices: Mapping[str, str]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A whole run as `compare` sees it. `data` is the digest of the data it ran on."""

    name: str
    data: str
    directions: Mapping[str, Direction]
    items: tuple[ScoredItem, ...]


@dataclass(frozen=True, slots=True)
class Regressed:
    """An item that the later run does worse, by metric: value before and after. `loss` adds up what share of a metric's
    range was lost.
    """

    id: str
    values: Mapping[str, tuple[float, float]]
    loss: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What `compare` found. `differences` are over all items, `slices` over parts; turned so that more is better."""

    before: str
    after: str
    items: int
    differences: tuple[Difference, ...]
    slices: tuple[Difference, ...]
    regressed: tuple[Regressed, ...]
    note: str = ""


def compare(
    before: ScoredRun,
    after: ScoredRun,
    *,
    different_data: bool = False,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Compared:
    """`after` minus `before`, item by item.

    Raises `RunsDiffer` when data or items differ. With `different_data`, what both have is compared, and the note says
    so. It also names metrics that only one of the runs has, which are not compared.
    """
    notes = [_difference_of_data(before, after, allowed=different_data), *_lone_metrics(before, after)]
    pairs = _aligned(before, after, partly=different_data)
    metrics = [name for name in after.directions if name in before.directions]
    sample = _Sample(pairs, {name: after.directions[name] for name in metrics})
    how = _Resampling(resamples, level, seed)
    slices = [each for name, part in sample.slices() for each in how.differences(part, name)]
    return Compared(
        before=before.name,
        after=after.name,
        items=len(pairs),
        differences=_adjusted(how.differences(sample, ""), level),
        slices=_adjusted(slices, level),
        regressed=_regressed(sample),
        note="; ".join(filter(None, notes)),
    )


class _Sample:
    """Pairs of items, and the sign that turns each metric so that more is better."""

    def __init__(self, pairs: Sequence[tuple[ScoredItem, ScoredItem]], directions: Mapping[str, Direction]) -> None:
        self.pairs = pairs
        self.directions = directions

    def groups(self) -> Iterable[tuple[list[str], list[tuple[ScoredItem, ScoredItem]]]]:
        """Metrics that apply to the same items, with those items: they are resampled together."""
        by_items: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in self.directions:
            by_items[tuple(i for i, (one, _) in enumerate(self.pairs) if name in one.values)].append(name)
        for indexes, names in by_items.items():
            if indexes:
                yield names, [self.pairs[index] for index in indexes]

    def slices(self) -> Iterable[tuple[str, _Sample]]:
        """`name=value` and its items, where there are enough of them and not simply all."""
        members: dict[str, list[tuple[ScoredItem, ScoredItem]]] = defaultdict(list)
        for pair in self.pairs:
            for name, value in pair[1].slices.items():
                if value:
                    members[f"{name}={value}"].append(pair)
        for name, pairs in sorted(members.items()):
            if _LEAST_SLICE <= len(pairs) < len(self.pairs):
                yield name, _Sample(pairs, self.directions)

    def sign(self, metric: str) -> float:
        """1 where more is better."""
        return 1.0 if self.directions[metric] == "higher" else -1.0


@dataclass(frozen=True, slots=True)
class _Resampling:
    resamples: int
    level: float
    seed: int

    def differences(self, sample: _Sample, name: str) -> list[Difference]:
        """One difference for each metric, p values not adjusted yet."""
        found = {}
        for metrics, pairs in sample.groups():
            before = _table([one for one, _ in pairs], metrics)
            after = _table([two for _, two in pairs], metrics)
            moved = (after - before) * np.array([sample.sign(each) for each in metrics])
            clusters = [two.cluster for _, two in pairs]
            intervals = mean_intervals(moved, clusters, resamples=self.resamples, level=self.level, seed=self.seed)
            p_values = self._p_values(before, after, moved, clusters)
            for column, metric in enumerate(metrics):
                counted = outcomes(moved[:, column])
                found[metric] = Difference(
                    metric=metric,
                    before=float(before[:, column].mean()),
                    after=float(after[:, column].mean()),
                    mean=intervals[column].mean,
                    low=intervals[column].low,
                    high=intervals[column].high,
                    p_value=p_values[column],
                    wins=counted.wins,
                    ties=counted.ties,
                    losses=counted.losses,
                    detectable=detectable_effect(moved[:, column], clusters, level=self.level),
                    finding="same" if counted.wins + counted.losses == 0 else "cannot tell",
                    slice=name,
                )
        return [found[metric] for metric in sample.directions if metric in found]

    def _p_values(
        self,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        moved: NDArray[np.float64],
        clusters: Sequence[str],
    ) -> list[float]:
        """McNemar's where items pass or fail independently, else the paired permutation test's."""
        p_values = permutation_p_values(moved, clusters, resamples=self.resamples, seed=self.seed).tolist()
        independent = len(set(clusters)) == len(clusters)
        for column in range(moved.shape[1]):
            if independent and np.isin((before[:, column], after[:, column]), (0.0, 1.0)).all():
                counted = outcomes(moved[:, column])
                p_values[column] = mcnemar_p_value(counted.wins, counted.losses)
        return [float(each) for each in p_values]


def _difference_of_data(before: ScoredRun, after: ScoredRun, *, allowed: bool) -> str:
    if before.data == after.data:
        return ""
    told = f"{before.name} and {after.name} ran on different data"
    if not allowed:
        raise RunsDiffer(f"{told}; run the suite again on the same data, or allow it with --different-data")
    return f"{told}: only the items and metrics that both have are compared"


def _lone_metrics(before: ScoredRun, after: ScoredRun) -> list[str]:
    told = []
    for one, other in ((before, after), (after, before)):
        if lone := [name for name in one.directions if name not in other.directions]:
            told.append(f"not compared, because only {one.name} has them: {', '.join(lone)}")
    return told


def _aligned(before: ScoredRun, after: ScoredRun, *, partly: bool) -> list[tuple[ScoredItem, ScoredItem]]:
    """The items of both, in the order of the later run. Raises `RunsDiffer`."""
    earlier = {each.id: each for each in before.items}
    later = {each.id for each in after.items}
    alone = sorted(earlier.keys() ^ later)
    if alone and not partly:
        raise RunsDiffer(
            f"{len(alone)} items are in only one of the runs, the first is {alone[0]!r}; "
            "run both whole, or compare what both have with --different-data"
        )
    pairs = [(earlier[each.id], each) for each in after.items if each.id in earlier]
    if not pairs:
        raise RunsDiffer(f"{before.name} and {after.name} have no item in common; compare runs of one suite")
    shared = before.directions.keys() & after.directions.keys()
    if not shared:
        raise RunsDiffer(f"{before.name} and {after.name} have no metric in common; score both with the same suite")
    return [_with_shared_values(one, two, shared, partly=partly) for one, two in pairs]


def _with_shared_values(
    one: ScoredItem, two: ScoredItem, metrics: Iterable[str], *, partly: bool
) -> tuple[ScoredItem, ScoredItem]:
    lone = [name for name in metrics if (name in one.values) != (name in two.values)]
    if not lone:
        return one, two
    if not partly:
        raise RunsDiffer(f"item {two.id!r} has {lone[0]} in only one of the runs; score both with the same suite")
    return (
        replace(one, values={name: value for name, value in one.values.items() if name not in lone}),
        replace(two, values={name: value for name, value in two.values.items() if name not in lone}),
    )


def _table(items: Sequence[ScoredItem], metrics: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[item.values[name] for name in metrics] for item in items], dtype=np.float64)


def _adjusted(differences: Sequence[Difference], level: float) -> tuple[Difference, ...]:
    """With p values for having looked at all of them, and what they then allow to say."""
    p_values = holm([each.p_value for each in differences])
    return tuple(_judged(replace(each, p_value=p), level) for each, p in zip(differences, p_values, strict=True))


def _judged(difference: Difference, level: float) -> Difference:
    if difference.finding == "same" or difference.p_value >= 1 - level:
        return difference
    finding: Finding = "better" if difference.mean > 0 else "worse"
    return replace(difference, finding=finding)


def _regressed(sample: _Sample) -> tuple[Regressed, ...]:
    """Items with a loss in some metric, the greatest loss first: seconds and shares both as parts of their range."""
    ranges = {name: _range(sample, name) for name in sample.directions}
    found = []
    for one, two in sample.pairs:
        worse = {
            name: (one.values[name], two.values[name])
            for name in sample.directions
            if name in one.values and sample.sign(name) * (two.values[name] - one.values[name]) < -1e-12
        }
        if worse:
            loss = sum(abs(after - before) / ranges[name] for name, (before, after) in worse.items())
            found.append(Regressed(two.id, worse, loss))
    return tuple(sorted(found, key=lambda each: (-each.loss, each.id)))


def _range(sample: _Sample, metric: str) -> float:
    """The distance of the smallest and the greatest value, at least 1, which is that of a share."""
    values = [item.values[metric] for pair in sample.pairs for item in pair if metric in item.values]
    return max(1.0, max(values) - min(values)) if values else 1.0
