"""Lines in a frame as SVG, coloured by the style sheet of the reports, or by a style of their own in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 520
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 46
_TICKS: Final = 5
_TONES: Final = ("#1f5f8b", "#b3372f", "#1d7a4c", "#8a6a12", "#6b4c9a")  # told apart by most eyes, on white and black
_STYLE: Final = (
    "svg{background:#fff;font-family:system-ui,'DejaVu Sans',sans-serif}text{fill:#333;font-size:11px}"
    ".title{font-size:13px;font-weight:600}.grid{stroke:#ddd}.end{text-anchor:end}.mid{text-anchor:middle}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """A line with a name."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(
    title: str, across: str, up: str, lines: Sequence[Series], *, widest: float = 0.0, highest: float = 0.0
) -> str:
    """All lines in one frame from 0 to `widest` and `highest`, or as far as they go; what is higher is cut."""
    return _framed(_drawn(title, across, up, lines, (widest, highest)), _WIDTH, _height(lines))


def standalone(charts: Sequence[str]) -> str:
    """Charts side by side, two a row, as a file that needs no style sheet."""
    inner = []
    tallest = max((_inner_height(chart) for chart in charts), default=_HEIGHT)
    for place, chart in enumerate(charts):
        x, y = (place % 2) * _WIDTH, (place // 2) * tallest
        inner.append(
            chart.replace("<svg ", f'<svg x="{x}" y="{y}" width="{_WIDTH}" height="{_inner_height(chart)}" ', 1)
        )
    width, height = _WIDTH * min(2, len(charts)), tallest * ((len(charts) + 1) // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{_STYLE}</style>{''.join(inner)}</svg>\n"
    )


def _height(lines: Sequence[Series]) -> int:
    return _HEIGHT + 18 * ((len(lines) + 3) // 4)


def _inner_height(chart: str) -> int:
    return int(chart.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()[1])


def _framed(inner: str, width: int, height: int) -> str:
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">{inner}</svg>'


def _drawn(title: str, across: str, up: str, lines: Sequence[Series], ends: tuple[float, float]) -> str:
    points = [point for line in lines for point in line.points]
    widest = ends[0] or max((x for x, _ in points), default=0.0) or 1.0
    tallest = ends[1] or max((y for _, y in points), default=0.0) * 1.05 or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + x / widest * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - min(y, tallest) / tallest * (_HEIGHT - _TOP - _BOTTOM - 12),
        )

    marks = [
        f"<title>{escape(title)}</title>",
        f'<text class="title" x="{_LEFT}" y="{_TOP + 4}">{escape(title)}</text>',
    ]
    for number in range(_TICKS + 1):
        x, y = place(widest * number / _TICKS, tallest * number / _TICKS)
        marks.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(
            f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{_short(tallest * number / _TICKS)}</text>'
        )
        marks.append(
            f'<text class="tick mid" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}">{_short(widest * number / _TICKS)}</text>'
        )
    for number, line in enumerate(lines):
        tone = _TONES[number % len(_TONES)]
        dash = ' stroke-dasharray="6 3"' if number >= len(_TONES) else ""
        way = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line.points)
        marks.append(f'<polyline fill="none" stroke="{tone}" stroke-width="2"{dash} points="{way}"/>')
        x, y = _LEFT + (number % 4) * 112, _HEIGHT + 10 + 18 * (number // 4)
        marks.append(f'<line x1="{x}" x2="{x + 16}" y1="{y - 4}" y2="{y - 4}" stroke="{tone}" stroke-width="2"{dash}/>')
        marks.append(f'<text class="tick" x="{x + 20}" y="{y}">{escape(line.name)}</text>')
    marks.append(f'<text class="label mid" x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 10}">{escape(across)}</text>')
    marks.append(f'<text class="label mid" transform="translate(12 {_HEIGHT / 2:.0f}) rotate(-90)">{escape(up)}</text>')
    return "".join(marks)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
