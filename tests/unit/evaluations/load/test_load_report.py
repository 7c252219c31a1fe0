"""Figures of a load and their forms: right numbers, the slowest stage by name, a page that needs nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from evaluations.load.exchange import Sample
from evaluations.load.figures import OUTSIDE, Figures, figures
from evaluations.load.showing import Setting, summary, to_html, to_json, to_text, verdict

HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script>'
SETTING = Setting("http://bank", 3, 1.0, 10.0, False, 0, "2026-11-25", "a machine")


def _made(began: float, generate: float, **more: Any) -> Sample:
    timings = {"retrieve": 0.1, "generate": generate, "total": generate + 0.1, "first_token": 0.4}
    return Sample(
        "ask", began, generate + 0.3, 0.5, 200, "answered", timings=timings, tokens={"completion": 100}, **more
    )


SAMPLES = [
    _made(0, 2.0),
    _made(1, 4.0, notice=True),
    Sample("ask", 2, 0.01, 0.01, 200, "answered", cached=True, timings={"cache": 0.001, "total": 0.001}),
    Sample("search", 3, 0.2, None, 200, "searched"),
    Sample("ask", 4, 0.02, None, 429, "busy", "429 Too Many Requests"),
    Sample("ask", 5, 1.0, None, 0, "error", HOSTILE),
]


@pytest.fixture
def found() -> Figures:
    return figures(SAMPLES, 10.0)


def test_rates_count_what_people_could_use(found: Figures) -> None:
    assert (found.requests, found.rate, found.goodput, found.answers) == (6, 0.6, 0.4, 0.3)
    assert found.results == {"answered": 3, "searched": 1, "busy": 1, "error": 1}
    assert (found.failed, found.notices) == (1, 1)
    assert found.statuses == {"200": 4, "429": 1, "no answer": 1}


def test_cached_answers_are_told_apart_from_those_that_were_made(found: Figures) -> None:
    assert found.cached_share == pytest.approx(1 / 3)
    assert (found.whole_made.count, found.whole_cached.count, found.whole.count) == (2, 1, 3)
    assert found.tokens == 100


def test_the_slowest_stage_is_named(found: Figures) -> None:
    assert found.slowest_stage is not None
    assert found.slowest_stage.name == "generate"
    assert found.slowest_stage.times.mean == pytest.approx(3.0)
    assert verdict(found).startswith("Slowest stage: generate, 3.00 s of 3.30 s")


def test_what_no_stage_explains_is_outside_of_the_pipeline() -> None:
    waited = Sample("ask", 0, 5.0, 4.5, 200, "answered", timings={"generate": 0.5, "total": 0.6})
    stage = figures([waited], 5.0).slowest_stage
    assert stage is not None
    assert (stage.name, stage.times.mean) == (OUTSIDE, pytest.approx(4.4))


def test_moments_are_no_stages(found: Figures) -> None:
    assert {stage.name for stage in found.stages} == {"retrieve", "generate", OUTSIDE}


def test_the_course_adds_up_to_all_requests(found: Figures) -> None:
    assert sum(step.good + step.busy + step.errors for step in found.course) == pytest.approx(len(SAMPLES))


def test_a_load_without_an_answer_has_a_report() -> None:
    nothing = figures([], 0.0)
    assert "no stage can be named" in to_text(SETTING, nothing)
    assert "0 requests" in to_html(SETTING, nothing, [], [])


def test_all_forms_tell_the_same(found: Figures) -> None:
    text, page = to_text(SETTING, found), to_html(SETTING, found, [2.3, 4.3], [0.5, 0.5])
    told = json.loads(to_json(SETTING, found))
    for words in (summary(found), verdict(found)):
        assert words in text
        assert words in page
    assert told["slowest_stage"] == "generate"
    assert told["figures"]["whole_made"]["count"] == 2


def test_the_page_needs_nothing_else_and_shows_hostile_text_as_text(found: Figures) -> None:
    page = to_html(SETTING, found, [2.3, 4.3], [0.5, 0.5])
    assert not re.findall(r"<(?:script|link|img|iframe|object|base|form)\b", page)
    assert "&lt;script" in page
    assert page.count("<polyline") == 5
