"""Figures of a whole run: the mean of every metric, and what is no mean of items.

Refusals and verdicts: precision, recall and F1. Confidence: expected calibration error in ten bins of equal width
(Naeini et al. 2015) and the area under the risk-coverage curve (Geifman and El-Yaniv 2017). Times: percentiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from evaluations.metrics.decisions import refused
from evaluations.runs.records import ItemRecord, ItemScores
from evaluations.timing import percentile

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a run, and how many items it rests on."""

    name: str
    value: float
    items: int


def figures(records: Sequence[ItemRecord], scores: Sequence[ItemScores]) -> list[Figure]:
    """All figures of a run, means first."""
    names = dict.fromkeys(name for each in scores for name in each.metrics)
    means = [_mean(name, [each.metrics[name] for each in scores if name in each.metrics]) for name in names]
    known = {(each.item, each.repeat): each for each in records}
    pairs = [(known[each.item, each.repeat], each) for each in scores if (each.item, each.repeat) in known]
    return [*means, *_refusals(pairs), *_verdicts(pairs), *_confidence(pairs), *_times(records)]


def calibration(confidences: Sequence[float], right: Sequence[float]) -> list[tuple[float, float, int]]:
    """Mean confidence, share that was right and count of every bin that holds something."""
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for confidence, was_right in zip(confidences, right, strict=True):
        bins[min(BINS - 1, max(0, int(confidence * BINS)))].append((confidence, was_right))
    return [
        (sum(c for c, _ in each) / len(each), sum(r for _, r in each) / len(each), len(each)) for each in bins if each
    ]


def expected_calibration_error(confidences: Sequence[float], right: Sequence[float]) -> float:
    """The mean distance of confidence and accuracy over bins, weighted by their items; 0 of nothing."""
    bins = calibration(confidences, right)
    return sum(abs(confidence - accuracy) * count for confidence, accuracy, count in bins) / max(1, len(confidences))


def risk_coverage(confidences: Sequence[float], right: Sequence[float]) -> list[tuple[float, float]]:
    """Coverage and risk after each item, the most confident first; items of equal confidence come together."""
    pairs = sorted(zip(confidences, right, strict=True), key=lambda pair: -pair[0])
    points, wrong = [], 0.0
    for position, (confidence, was_right) in enumerate(pairs, 1):
        wrong += 1 - was_right
        if position == len(pairs) or pairs[position][0] != confidence:
            points.append((position / len(pairs), wrong / position))
    return points


def area_under_risk_coverage(confidences: Sequence[float], right: Sequence[float]) -> float:
    """The mean risk over all coverages, 0 best; each step weighs what it adds to the coverage."""
    area, before = 0.0, 0.0
    for coverage, risk in risk_coverage(confidences, right):
        area, before = area + risk * (coverage - before), coverage
    return area


def answered(pairs: Iterable[tuple[ItemRecord, ItemScores]]) -> tuple[list[float], list[float]]:
    """The confidence of every answer that was given, and whether it was right."""
    chosen = [
        (float(record.produced.confidence), each.metrics["correct"])
        for record, each in pairs
        if record.produced.confidence is not None and "correct" in each.metrics and not refused(record.produced)
    ]
    return [confidence for confidence, _ in chosen], [right for _, right in chosen]


def _mean(name: str, values: Sequence[float]) -> Figure:
    return Figure(name, sum(values) / len(values), len(values))


def _refusals(pairs: Sequence[tuple[ItemRecord, ItemScores]]) -> list[Figure]:
    chosen = [(record, each) for record, each in pairs if "refusal_accuracy" in each.metrics]
    return _rates(
        "refusal", chosen, lambda record, _: record.state == "ok" and refused(record.produced),
        lambda _, each: each.detail.get("answerable") == "false",
    )  # fmt: skip


def _verdicts(pairs: Sequence[tuple[ItemRecord, ItemScores]]) -> list[Figure]:
    chosen = [(record, each) for record, each in pairs if "verdict_accuracy" in each.metrics]
    return _rates(
        "unsupported", chosen, lambda record, _: record.produced.status == "unsupported",
        lambda _, each: each.detail.get("label") == "unsupported",
    )  # fmt: skip


def _rates(
    name: str,
    pairs: Sequence[tuple[ItemRecord, ItemScores]],
    said: Callable[[ItemRecord, ItemScores], bool],
    true: Callable[[ItemRecord, ItemScores], bool],
) -> list[Figure]:
    if not pairs:
        return []
    both = sum(said(*pair) and true(*pair) for pair in pairs)
    claimed, there = sum(said(*pair) for pair in pairs), sum(true(*pair) for pair in pairs)
    precision, recall = both / claimed if claimed else 0.0, both / there if there else 0.0
    harmonic = 2 * precision * recall / (precision + recall) if both else 0.0
    values = {"precision": (precision, claimed), "recall": (recall, there), "f1": (harmonic, len(pairs))}
    return [Figure(f"{name}_{kind}", value, items) for kind, (value, items) in values.items()]


def _confidence(pairs: Sequence[tuple[ItemRecord, ItemScores]]) -> list[Figure]:
    confidences, right = answered(pairs)
    if not confidences:
        return []
    return [
        Figure("expected_calibration_error", expected_calibration_error(confidences, right), len(right)),
        Figure("area_under_risk_coverage", area_under_risk_coverage(confidences, right), len(right)),
    ]


def _times(records: Sequence[ItemRecord]) -> list[Figure]:
    found = []
    for stage in ("first_sentence", "first_token", "total"):
        seconds = [each.produced.timings[stage] for each in records if stage in each.produced.timings]
        if seconds:
            found += [
                Figure(f"seconds_{stage}_{name}", percentile(seconds, share), len(seconds))
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            ]
    return found
