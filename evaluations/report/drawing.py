"""Small pictures as SVG, coloured by the style sheet of the page, so that they follow dark mode and print."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from evaluations.report.document import Bin, CoveragePoint, Difference, Score

_SIDE: Final = 320
_MARGIN: Final = 56
_RIGHT: Final = 22
_STRIP_WIDTH: Final = 180
_STRIP_HEIGHT: Final = 18


def interval_strip(score: Score) -> str:
    """A value between 0 and 1 with its interval on a line; nothing for metrics on another scale."""
    if not (0 <= score.low <= score.high <= 1):
        return ""
    low, mean, high = (2 + value * (_STRIP_WIDTH - 4) for value in (score.low, score.mean, score.high))
    middle = _STRIP_HEIGHT / 2
    return (
        f'<svg class="strip" viewBox="0 0 {_STRIP_WIDTH} {_STRIP_HEIGHT}" role="img" '
        f'aria-label="{score.mean:.3f}, from {score.low:.3f} to {score.high:.3f}">'
        f'<line class="axis" x1="2" x2="{_STRIP_WIDTH - 2}" y1="{middle}" y2="{middle}"/>'
        f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot" cx="{mean:.1f}" cy="{middle}" r="4.5"/></svg>'
    )


def difference_strip(difference: Difference, widest: float) -> str:
    """A difference with its interval around zero; `widest` is the greatest distance from zero in the table."""
    scale = (_STRIP_WIDTH / 2 - 6) / widest if widest > 0 else 0.0
    center, middle = _STRIP_WIDTH / 2, _STRIP_HEIGHT / 2
    low, mean, high = (center + value * scale for value in (difference.low, difference.mean, difference.high))
    tone = {"better": "good", "worse": "bad"}.get(difference.finding, "unsure")
    return (
        f'<svg class="strip" viewBox="0 0 {_STRIP_WIDTH} {_STRIP_HEIGHT}" role="img" '
        f'aria-label="{difference.mean:+.3f}, from {difference.low:+.3f} to {difference.high:+.3f}">'
        f'<line class="axis" x1="2" x2="{_STRIP_WIDTH - 2}" y1="{middle}" y2="{middle}"/>'
        f'<line class="zero" x1="{center}" x2="{center}" y1="1" y2="{_STRIP_HEIGHT - 1}"/>'
        f'<line class="range {tone}" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot {tone}" cx="{mean:.1f}" cy="{middle}" r="4.5"/></svg>'
    )


def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Confidence against the share that was right; on the diagonal, the confidence means what it says."""
    most = max((each.items for each in bins), default=1)
    marks = [
        f'<circle class="dot" cx="{_x(each.confidence):.1f}" cy="{_y(each.accuracy):.1f}" '
        f'r="{4 + 8 * (each.items / most) ** 0.5:.1f}"><title>{each.items} answers, confidence '
        f"{each.confidence:.2f}, right {each.accuracy:.0%}</title></circle>"
        for each in bins
    ]
    diagonal = f'<line class="zero" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
    return _chart("Calibration: confidence against the share that is right", "confidence", "right", diagonal, *marks)


def risk_coverage_curve(points: Sequence[CoveragePoint]) -> str:
    """How many answers are wrong when only the most confident questions are answered."""
    way = " ".join(f"{_x(each.coverage):.1f},{_y(each.risk):.1f}" for each in points)
    line = f'<polyline class="curve" points="{way}"/>'
    return _chart("Risk and coverage", "questions answered", "wrong among them", line)


def share_bars(counts: dict[str, int]) -> str:
    """Horizontal bars with a name and a number, greatest first."""
    if not counts:
        return ""
    rows = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    most, height = rows[0][1], 26
    drawn = []
    for place, (name, count) in enumerate(rows):
        y = place * height
        drawn.append(
            f'<text x="0" y="{y + 17}">{escape(name)}</text>'
            f'<rect class="bar" x="210" y="{y + 5}" width="{max(2, 250 * count / most):.1f}" height="16" rx="3"/>'
            f'<text x="{216 + 250 * count / most:.1f}" y="{y + 17}">{count:,}</text>'
        )
    box = f"0 0 520 {len(rows) * height}"
    return f'<svg class="bars" viewBox="{box}" role="img" aria-label="causes">{"".join(drawn)}</svg>'


def _x(share: float) -> float:
    return _MARGIN + share * (_SIDE - _MARGIN - _RIGHT)


def _y(share: float) -> float:
    return _SIDE - _MARGIN - share * (_SIDE - _MARGIN - _RIGHT)


def _chart(title: str, across: str, up: str, *marks: str) -> str:
    ticks = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        ticks.append(f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>')
        ticks.append(f'<text class="tick end" x="{_x(0) - 6}" y="{_y(tick) + 4:.1f}">{tick:.0%}</text>')
        ticks.append(f'<text class="tick mid" x="{_x(tick):.1f}" y="{_y(0) + 16}">{tick:.0%}</text>')
    middle = _x(0.5)
    return (
        f'<svg class="chart" viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{escape(title)}">'
        f"{''.join(ticks)}{''.join(marks)}"
        f'<text class="label mid" x="{middle}" y="{_SIDE - 14}">{escape(across)}</text>'
        f'<text class="label mid" transform="translate(12 {_y(0.5):.1f}) rotate(-90)">{escape(up)}</text></svg>'
    )
