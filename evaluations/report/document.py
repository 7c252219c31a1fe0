"""What a report says, before it has a form: HTML, Markdown and JSON are made from this and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["higher", "lower"]
Standing = Literal["pass", "fail", "inconclusive", "waived", ""]


@dataclass(frozen=True, slots=True)
class Score:
    """One metric: mean, bootstrap interval, items. `standing` and `asked` say how it stands to the suite's floors."""

    metric: str
    direction: Direction
    mean: float
    low: float
    high: float
    items: int
    standing: Standing = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """The same metrics over some of the items."""

    name: str
    items: int
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence: their mean confidence, the share that was right, how many."""

    confidence: float
    accuracy: float
    items: int


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """With the most confident `coverage` of all questions answered, `risk` of those answers is wrong."""

    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of one stage."""

    stage: str
    p50: float
    p95: float
    p99: float
    slowest: float


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage of an item: where it is, and whether it was wanted, in the prompt, cited."""

    title: str
    page: str
    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownItem:
    """One item, for reading: what was asked, wanted, said, and why it counts as it does."""

    id: str
    question: str
    wanted: str
    said: str
    status: str
    cause: str
    values: dict[str, float]
    passages: tuple[ShownPassage, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two runs. `mean` is turned so that more is better; p values are adjusted over all metrics."""

    metric: str
    before: float
    after: float
    mean: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int
    detectable: float
    finding: Literal["better", "worse", "cannot tell", "same"]
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Regression:
    """An item that the baseline did better, side by side."""

    before: ShownItem
    after: ShownItem


@dataclass(frozen=True, slots=True)
class Comparison:
    """The run against another one."""

    baseline: str
    differences: tuple[Difference, ...]
    slices: tuple[Difference, ...] = ()
    regressions: tuple[Regression, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A body of data: where it is from, and what may be done with it."""

    name: str
    origin: str
    licence: str
    items: int
    digest: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the data sheet."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report. Empty parts are left out of every form."""

    title: str
    run: str
    state: Literal["complete", "partial"]
    summary: str
    finished_at: str
    items: int
    failed_items: int
    scores: tuple[Score, ...]
    slices: tuple[Slice, ...] = ()
    causes: dict[str, int] = field(default_factory=dict)
    calibration: tuple[Bin, ...] = ()
    risk_coverage: tuple[CoveragePoint, ...] = ()
    latencies: tuple[Latency, ...] = ()
    worst: tuple[ShownItem, ...] = ()
    comparison: Comparison | None = None
    sources: tuple[Source, ...] = ()
    facts: tuple[Fact, ...] = ()
