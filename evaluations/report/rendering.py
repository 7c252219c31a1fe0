"""The three forms of a report: HTML in one file, Markdown, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from evaluations.report import drawing
from evaluations.report.document import Difference, Document, Score


def to_html(document: Document) -> str:
    """One page that needs nothing else: style and pictures are inside, scripts there are none."""
    environment = _environment(autoescape=True)
    environment.globals |= {
        "interval_strip": lambda score: Markup(drawing.interval_strip(score)),  # noqa: S704 - numbers only
        "difference_strip": lambda each, widest: Markup(drawing.difference_strip(each, widest)),  # noqa: S704
        "reliability_diagram": Markup(drawing.reliability_diagram(document.calibration)),  # noqa: S704
        "risk_coverage_curve": Markup(drawing.risk_coverage_curve(document.risk_coverage)),  # noqa: S704
        "share_bars": Markup(drawing.share_bars(document.causes)),  # noqa: S704 - names are escaped
    }
    return environment.get_template("report.html.jinja").render(document=document, widest=_widest)


def to_markdown(document: Document) -> str:
    """The same for a pull request or a wiki."""
    return _environment(autoescape=False).get_template("report.md.jinja").render(document=document)


def to_json(document: Document) -> str:
    """The same for programs."""
    return json.dumps(asdict(document), ensure_ascii=False, indent=2) + "\n"


def number(value: float, metric: str = "") -> str:
    """A figure as people read it: seconds and counts as they are, shares with three decimals."""
    if "seconds" in metric:
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def _widest(differences: tuple[Difference, ...], metric: str) -> float:
    """The farthest end of an interval among metrics of the same unit: seconds would make shares look like nothing."""
    alike = [each for each in differences if ("seconds" in each.metric) == ("seconds" in metric)]
    return max((max(abs(each.low), abs(each.high)) for each in alike), default=0.0)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("evaluations.report"),
        autoescape=select_autoescape(default=autoescape) if autoescape else False,  # noqa: S701 - Markdown is text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "cell": _cell, "tone": _tone}
    return environment


def _cell(text: Any) -> str:
    """Text inside a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _tone(score: Score) -> str:
    return {"pass": "good", "waived": "unsure", "fail": "bad", "inconclusive": "unsure"}.get(score.standing, "")
