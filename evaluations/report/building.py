"""From a stored run, and the run that it is compared with, to what a report says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from evaluations.compare.comparing import Compared, ScoredItem, ScoredRun
from evaluations.compare.statistics import score_interval
from evaluations.gate.judging import Checked
from evaluations.metrics.aggregates import calibration, risk_coverage
from evaluations.report.document import (
    Bin,
    Comparison,
    CoveragePoint,
    Document,
    Fact,
    Latency,
    Regression,
    Score,
    ShownItem,
    ShownPassage,
    Slice,
    Source,
    Standing,
)
from evaluations.runs.records import ItemRecord, ItemScores, RetrievedPassage, RunInfo

CAUSE: Final = "cause"  # keys of `ItemScores.detail`
WANTED: Final = "wanted"
WANTED_KEYS: Final = "wanted_keys"  # places that the labels name, one a line
_WORST: Final = 25
_REGRESSIONS: Final = 25
_PASSAGES: Final = 6
_SHOWN_CHARACTERS: Final = 700
_POINTS: Final = 100
_RESAMPLES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Reported:
    """A run with everything that its report is made from. `correct` names the metric that says right or wrong."""

    title: str
    info: RunInfo
    records: Sequence[ItemRecord]
    scores: Sequence[ItemScores]
    scored: ScoredRun
    checked: Sequence[Checked] = ()
    sources: Sequence[Source] = ()
    correct: str = ""


def build(run: Reported, against: tuple[Reported, Compared] | None = None) -> Document:
    """The document. A run that was cut becomes a document that says so."""
    complete = run.info.state == "complete" and len(run.records) == run.info.planned
    scores = _scores(run.scored.items, run.scored, run.checked)
    comparison = _comparison(run, *against) if against else None
    causes = Counter(each.detail.get(CAUSE, "") for each in run.scores)
    causes.pop("", None)
    return Document(
        title=run.title,
        run=run.info.id,
        state="complete" if complete else "partial",
        summary=_summary(run.checked, comparison, failed=_failed(run.records), items=len(run.scored.items)),
        finished_at=run.info.finished.replace("T", " ")[:16],
        items=len(run.scored.items),
        failed_items=_failed(run.records),
        scores=scores,
        slices=_slices(run.scored),
        causes=dict(causes.most_common()),
        calibration=_calibration(run),
        risk_coverage=_risk_coverage(run),
        latencies=_latencies(run.records),
        worst=_worst(run),
        comparison=comparison,
        sources=tuple(run.sources),
        facts=_facts(run.info),
    )


def _failed(records: Iterable[ItemRecord]) -> int:
    return sum(1 for each in records if each.state == "failed")


def _scores(items: Sequence[ScoredItem], run: ScoredRun, checked: Sequence[Checked]) -> tuple[Score, ...]:
    standings = _standings(checked)
    found = []
    for metric, direction in run.directions.items():
        having = [item for item in items if metric in item.values]
        if having:
            values = [item.values[metric] for item in having]
            clusters = [item.cluster for item in having]
            interval = score_interval(values, clusters, resamples=_RESAMPLES)
            standing, asked = standings.get(metric, ("", ""))
            found.append(
                Score(metric, direction, interval.mean, interval.low, interval.high, len(having), standing, asked)
            )
    return tuple(found)


def _standings(checked: Sequence[Checked]) -> dict[str, tuple[Standing, str]]:
    """How metrics stand to their floors over all items; the floors of slices stand in the decision."""
    found: dict[str, tuple[Standing, str]] = {}
    for each in checked:
        kind, _, metric = each.name.partition(" ")
        if kind == "floor" and "[" not in metric:
            found[metric] = (each.outcome, each.reason.partition("], ")[2])
    return found


def _slices(run: ScoredRun) -> tuple[Slice, ...]:
    members: dict[str, list[ScoredItem]] = defaultdict(list)
    for item in run.items:
        for name, value in item.slices.items():
            if value:
                members[f"{name}={value}"].append(item)
    parts = {name: items for name, items in sorted(members.items()) if len(items) < len(run.items)}
    # Every slice shows the same columns: metrics that all of them have.
    shared = [
        metric
        for metric in run.directions
        if all(any(metric in item.values for item in items) for items in parts.values())
    ]
    narrow = replace(run, directions={metric: run.directions[metric] for metric in shared})
    return tuple(Slice(name, len(items), _scores(items, narrow, ())) for name, items in parts.items())


def _summary(checked: Sequence[Checked], comparison: Comparison | None, *, failed: int, items: int) -> str:
    said = []
    if checked:
        below = [each.name for each in checked if each.outcome == "fail"]
        said.append(f"Below its floor: {', '.join(below)}." if below else "Every floor is reached.")
    if comparison:
        by_finding: dict[str, list[str]] = defaultdict(list)
        for each in comparison.differences:
            by_finding[each.finding].append(each.metric)
        moved = [
            f"{finding.capitalize()}: {', '.join(by_finding[finding])}."
            for finding in ("better", "worse", "cannot tell")
            if by_finding[finding]
        ]
        said += moved or [f"Nothing differs from {comparison.baseline}."]
    if failed:
        said.append(f"{failed:,} of {items:,} items failed and count as wrong.")
    return " ".join(said) or f"{items:,} items, none failed."


def _confident(run: Reported) -> tuple[list[float], list[float]]:
    """Confidence and correctness of every answer that has both."""
    scores = {(each.item, each.repeat): each.metrics for each in run.scores}
    confidences, right = [], []
    for record in run.records:
        value = scores.get((record.item, record.repeat), {}).get(run.correct)
        if value is not None and record.produced.confidence is not None:
            confidences.append(record.produced.confidence)
            right.append(value)
    return confidences, right


def _calibration(run: Reported) -> tuple[Bin, ...]:
    confidences, right = _confident(run)
    return tuple(Bin(*each) for each in calibration(confidences, right))


def _risk_coverage(run: Reported) -> tuple[CoveragePoint, ...]:
    """The most confident answers first, at most about 100 points."""
    points = risk_coverage(*_confident(run))
    step = max(1, len(points) // _POINTS)
    return tuple(CoveragePoint(*each) for each in [*points[:-1:step], *points[-1:]])


def _latencies(records: Iterable[ItemRecord]) -> tuple[Latency, ...]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for stage, value in record.produced.timings.items():
            seconds[stage].append(value)
    return tuple(
        Latency(stage, float(p50), float(p95), float(p99), max(values))
        for stage, values in seconds.items()
        for p50, p95, p99 in [np.quantile(values, (0.5, 0.95, 0.99))]
    )


def _worst(run: Reported) -> tuple[ShownItem, ...]:
    """Items that failed or have a cause, the lowest values first."""
    scores = {(each.item, each.repeat): each for each in run.scores}
    bad = []
    for record in run.records:
        scored = scores.get((record.item, record.repeat))
        if scored and (record.state == "failed" or scored.detail.get(CAUSE)):
            turned = [
                value if run.scored.directions.get(metric) == "higher" else -value
                for metric, value in scored.metrics.items()
                if "seconds" not in metric
            ]
            bad.append((record.state != "failed", sum(turned), record.item, record, scored))
    bad.sort(key=lambda each: each[:3])
    return tuple(shown(record, scored) for *_, record, scored in bad[:_WORST])


def shown(record: ItemRecord, scored: ItemScores | None) -> ShownItem:
    """One item for reading."""
    detail = scored.detail if scored else {}
    wanted = set(detail.get(WANTED_KEYS, "").splitlines())
    produced = record.produced
    cited = {(each.document_id, each.page) for each in produced.citations}
    return ShownItem(
        id=record.item,
        question=record.question,
        wanted=detail.get(WANTED, ""),
        said=produced.text,
        status=produced.status or record.state,
        cause=detail.get(CAUSE, ""),
        values=dict(scored.metrics) if scored else {},
        passages=tuple(_passage(each, wanted, cited) for each in produced.passages[:_PASSAGES]),
        error=record.failure,
    )


def _passage(passage: RetrievedPassage, wanted: set[str], cited: set[tuple[str, int]]) -> ShownPassage:
    marks = {
        "wanted": passage.key in wanted,
        "in the prompt": passage.in_prompt,
        "cited": (passage.document_id, passage.page) in cited,
    }
    text = passage.text
    if len(text) > _SHOWN_CHARACTERS:
        text = text[:_SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " …"
    page = str(passage.page) if passage.page else ""
    return ShownPassage(passage.title, page, text, tuple(name for name, holds in marks.items() if holds))


def _comparison(run: Reported, baseline: Reported, compared: Compared) -> Comparison:
    before, after = _by_item(baseline), _by_item(run)
    regressions = [
        Regression(shown(*before[each.id]), shown(*after[each.id]))
        for each in compared.regressed[:_REGRESSIONS]
        if each.id in before and each.id in after
    ]
    return Comparison(baseline.info.id, compared.differences, compared.slices, tuple(regressions), compared.note)


def _by_item(run: Reported) -> Mapping[str, tuple[ItemRecord, ItemScores | None]]:
    scores = {(each.item, each.repeat): each for each in run.scores}
    return {each.item: (each, scores.get((each.item, each.repeat))) for each in reversed(run.records)}


def _facts(info: RunInfo) -> tuple[Fact, ...]:
    known = {"target": info.target, "started": info.started, **asdict(info.fingerprints)}
    return tuple(Fact(name, value) for name, value in known.items() if value)
