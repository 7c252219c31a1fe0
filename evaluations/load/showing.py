"""A load as people read it: a table in the terminal, JSON, and one HTML page with pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from evaluations.load.figures import Figures, Stage, Times
from evaluations.load.plotting import Series, line_chart
from evaluations.report.rendering import number
from evaluations.timing import table

_ROWS: Final = (
    ("first words", "first_words"),
    ("whole answer", "whole"),
    ("… made anew", "whole_made"),
    ("… from the cache", "whole_cached"),
    ("turned away", "turned_away"),
)
_SHARES: Final = 50


@dataclass(frozen=True, slots=True)
class Setting:
    """What was asked for, and where: machine and time, for whoever reads the figures later."""

    url: str
    users: int
    think_seconds: float
    asked_seconds: float
    cut: bool
    seed: int
    finished_at: str
    machine: str


def verdict(found: Figures) -> str:
    """The slowest stage in one sentence."""
    slowest = found.slowest_stage
    if slowest is None:
        return "No answer was made, so no stage can be named."
    return (
        f"Slowest stage: {slowest.name}, {_seconds(slowest.times.mean)} of {_seconds(found.whole_made.mean)} "
        f"on average ({slowest.share:.0%}), p95 {_seconds(slowest.times.p95)}."
    )


def summary(found: Figures) -> str:
    """What people got, in one sentence."""
    away = found.results.get("busy", 0)
    return (
        f"{found.requests:,} requests in {found.seconds:.0f} s: {found.goodput:.2f} good ones a second, "
        f"{found.cached_share:.0%} of the answers from the cache, {away} turned away, {found.failed} failed."
    )


def to_text(setting: Setting, found: Figures) -> str:
    """For the terminal."""
    cut = " (cut short)" if setting.cut else ""
    parts = [
        f"{setting.users} users, {setting.think_seconds:g} s to think, {found.seconds:.0f} s{cut}, {setting.url}",
        summary(found),
        table([("seconds", "count", "mean", "p50", "p95", "p99", "slowest"), *(_row(*row) for row in _times(found))]),
        table([("answers made", "mean", "p95", "share"), *(_stage(stage) for stage in found.stages)]),
        "became: " + _listed(found.results) + f"; notices {found.notices}",
        "status: " + _listed(found.statuses),
    ]
    if found.errors:
        parts.append("not good:\n" + "\n".join(f"  {count:>5}  {name}" for name, count in found.errors.items()))
    return "\n\n".join([*parts, verdict(found)])


def to_json(setting: Setting, found: Figures) -> str:
    """For programs: the setting, the figures, and the name of the slowest stage."""
    slowest = found.slowest_stage
    told: dict[str, Any] = {
        "setting": asdict(setting), "figures": asdict(found), "slowest_stage": slowest.name if slowest else None,
    }  # fmt: skip
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"


def to_html(setting: Setting, found: Figures, totals: Sequence[float], firsts: Sequence[float]) -> str:
    """One page that needs nothing else. `totals` and `firsts`: seconds of all good answers."""
    loader = ChoiceLoader([PackageLoader("evaluations.load"), PackageLoader("evaluations.report")])
    environment = Environment(
        loader=loader, autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    course = [
        Series(name, [(step.at, value) for step, value in zip(found.course, values, strict=True)])
        for name, values in (
            ("good", [step.good for step in found.course]),
            ("turned away", [step.busy for step in found.course]),
            ("failed", [step.errors for step in found.course]),
        )
    ]
    spread = [Series("first words", _quantiles(firsts)), Series("whole answer", _quantiles(totals))]
    charts = [
        line_chart("Requests over the time of the load", "seconds", "a second", course),
        line_chart("How many waited how long", "share of the answers, %", "seconds", spread),
    ]
    return environment.get_template("load.html.jinja").render(
        setting=setting, found=found, times=_times(found), verdict=verdict(found), summary=summary(found),
        charts=[Markup(chart) for chart in charts],  # noqa: S704 - names are escaped
    )  # fmt: skip


def _times(found: Figures) -> list[tuple[str, Times]]:
    rows = [(name, getattr(found, attribute)) for name, attribute in _ROWS]
    return [(name, times) for name, times in rows if times.count]


def _row(name: str, times: Times) -> tuple[str, ...]:
    values = (times.mean, times.p50, times.p95, times.p99, times.slowest)
    return (name, f"{times.count:,}", *(f"{value:.3f}" for value in values))


def _stage(stage: Stage) -> tuple[str, ...]:
    return stage.name, f"{stage.times.mean:.3f}", f"{stage.times.p95:.3f}", f"{stage.share:.1%}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "nothing"


def _seconds(value: float) -> str:
    return number(value, "seconds")


def _quantiles(values: Sequence[float]) -> list[tuple[float, float]]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return (
        [(100 * place / _SHARES, ordered[last * place // _SHARES]) for place in range(_SHARES + 1)] if ordered else []
    )
