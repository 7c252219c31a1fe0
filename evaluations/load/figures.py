"""Figures from samples: what people got, how long it took, and which stage took longest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from evaluations.load.exchange import Result, Sample
from evaluations.timing import percentile

GOOD: Final[frozenset[Result]] = frozenset(
    {"answered", "partial", "refused", "escalated", "searched", "uploaded", "stopped"}
)
_ANSWERS: Final[frozenset[Result]] = frozenset({"answered", "partial", "refused", "escalated"})
OUTSIDE: Final = "outside the pipeline"  # waiting for a turn, proxy, network, and the loading machine itself
_NO_STAGES: Final = frozenset({"total", "first_token", "first_sentence"})  # moments, not parts of the whole
_BUCKETS: Final = 40


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds; all 0 where nothing was measured."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    slowest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Times:
        """Of these seconds."""
        found = list(values)
        if not found:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        p50, p95, p99 = (percentile(found, share) for share in (0.5, 0.95, 0.99))
        return cls(len(found), sum(found) / len(found), p50, p95, p99, max(found))


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the answers that were made, not taken from the cache. `share` is its part of their whole time."""

    name: str
    times: Times
    share: float


@dataclass(frozen=True, slots=True)
class Second:
    """One step of the load: when it began, and requests that ended in it per second, by what became of them."""

    at: float
    good: float
    busy: float
    errors: float


@dataclass(frozen=True, slots=True)
class Figures:
    """A load in numbers. Rates are per second; `goodput` counts what people could use, `answers` answers alone."""

    seconds: float
    requests: int
    rate: float
    goodput: float
    answers: float
    results: dict[str, int]
    kinds: dict[str, int]
    statuses: dict[str, int]
    errors: dict[str, int]
    cached_share: float
    notices: int
    first_words: Times
    whole: Times
    whole_made: Times
    whole_cached: Times
    turned_away: Times
    tokens: float
    stages: tuple[Stage, ...]
    course: tuple[Second, ...]

    @property
    def slowest_stage(self) -> Stage | None:
        """The one that took most of the time of the answers that were made; None without such an answer."""
        return max(self.stages, key=lambda stage: stage.times.mean, default=None)

    @property
    def failed(self) -> int:
        """Requests that ended in an error, being turned away not counted."""
        return self.results.get("error", 0) + self.results.get("forbidden", 0)


def figures(samples: Sequence[Sample], seconds: float) -> Figures:
    """Of a load that lasted `seconds`."""
    lasted = max(seconds, 1e-9)
    good = [sample for sample in samples if sample.result in GOOD]
    answers = [sample for sample in good if sample.result in _ANSWERS]
    made = [sample for sample in answers if not sample.cached]
    completion = [sample.tokens["completion"] for sample in made if sample.tokens.get("completion")]
    return Figures(
        seconds=seconds,
        requests=len(samples),
        rate=len(samples) / lasted,
        goodput=len(good) / lasted,
        answers=len(answers) / lasted,
        results=_counted(sample.result for sample in samples),
        kinds=_counted(sample.kind for sample in samples),
        statuses=_counted(str(sample.status or "no answer") for sample in samples),
        errors=_counted(sample.detail for sample in samples if sample.result not in GOOD),
        cached_share=(len(answers) - len(made)) / len(answers) if answers else 0.0,
        notices=sum(sample.notice for sample in samples),
        first_words=Times.of(sample.first for sample in good if sample.first is not None),
        whole=Times.of(sample.total for sample in answers),
        whole_made=Times.of(sample.total for sample in made),
        whole_cached=Times.of(sample.total for sample in answers if sample.cached),
        turned_away=Times.of(sample.total for sample in samples if sample.result == "busy"),
        tokens=sum(completion) / len(completion) if completion else 0.0,
        stages=_stages(made),
        course=_course(samples, lasted),
    )


def _stages(made: Sequence[Sample]) -> tuple[Stage, ...]:
    """Longest first. A stage that an answer did not need took 0 seconds of it."""
    names = {name for sample in made for name in sample.timings} - _NO_STAGES
    whole = sum(sample.total for sample in made) or 1.0
    found = {name: [sample.timings.get(name, 0.0) for sample in made] for name in names}
    if made:
        found[OUTSIDE] = [max(0.0, sample.total - sample.timings.get("total", 0.0)) for sample in made]
    stages = [Stage(name, Times.of(values), sum(values) / whole) for name, values in found.items()]
    return tuple(sorted(stages, key=lambda stage: (-stage.times.mean, stage.name)))


def _course(samples: Sequence[Sample], seconds: float) -> tuple[Second, ...]:
    step = max(1.0, seconds / _BUCKETS)
    buckets: dict[int, Counter[str]] = {place: Counter() for place in range(int(seconds / step) or 1)}
    for sample in samples:
        place = min(int((sample.began + sample.total) / step), len(buckets) - 1)
        buckets[place]["good" if sample.result in GOOD else "busy" if sample.result == "busy" else "errors"] += 1
    return tuple(
        Second(place * step, count["good"] / step, count["busy"] / step, count["errors"] / step)
        for place, count in buckets.items()
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
