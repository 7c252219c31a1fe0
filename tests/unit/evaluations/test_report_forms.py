"""The forms of a report: one file, nothing from outside, hostile text shown as text, the same facts everywhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from evaluations.report.document import (
    Bin,
    Comparison,
    CoveragePoint,
    Difference,
    Document,
    Fact,
    Latency,
    Regression,
    Score,
    ShownItem,
    ShownPassage,
    Slice,
    Source,
)
from evaluations.report.rendering import number, to_html, to_json, to_markdown

HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script><img src=x onerror=alert(2)> | a|b'
ITEM = ShownItem("q1", HOSTILE, "ten days", HOSTILE, "answered", "wrong number", {"correct": 0.0},
                 (ShownPassage(HOSTILE, "3", HOSTILE, ("wanted",)),), error=HOSTILE)  # fmt: skip
SCORE = Score("ndcg@10", "higher", 0.745, 0.734, 0.757, 2849, "pass", "at least 0.695")
LOWER = Score("wrongly_refused", "lower", 0.031, 0.02, 0.045, 610)


@pytest.fixture
def document() -> Document:
    difference = Difference("ndcg@10", 0.74, 0.745, 0.005, 0.001, 0.009, 0.01, 9, 80, 2, 0.006, "better")
    return Document(
        "Retrieval", "run-1", "complete", "No metric is worse.", "2026-11-25", 2849, 3, (SCORE, LOWER),
        (Slice("collection=filings", 24, (SCORE, LOWER)),), {"not retrieved": 210, HOSTILE: 3},
        (Bin(0.7, 0.68, 40),), (CoveragePoint(0.5, 0.02), CoveragePoint(1.0, 0.2)),
        (Latency("total", 0.073, 0.11, 1.2, 2.0),), (ITEM,),
        Comparison("run-0", (difference,), (replace(difference, slice="s"),), (Regression(ITEM, ITEM),), "a note"),
        (Source("obliqa", "RegNLP/ObliQADataset", "Apache-2.0", 2849, "ab" * 32),), (Fact("seed", "7"),),
    )  # fmt: skip


def test_the_page_needs_nothing_else(document: Document) -> None:
    page = to_html(document)
    assert not re.findall(r"<(?:script|link|img|iframe|object|base|form)\b", page)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_hostile_text_stays_text(document: Document) -> None:
    page = to_html(document)
    assert "&lt;script src=" in page
    assert "onerror=alert(2)&gt;" in page


def test_every_form_tells_the_same_figures(document: Document) -> None:
    for form in (to_html(document), to_markdown(document)):
        assert "0.745" in form
        assert "0.031" in form
        assert "73 ms" in form
        assert "1.20 s" in form
        assert "Apache-2.0" in form
    assert json.loads(to_json(document))["scores"][0]["mean"] == 0.745


def test_a_partial_run_says_so_first(document: Document) -> None:
    partial = replace(document, state="partial")
    assert "This run is not complete" in to_html(partial)
    assert "This run is not complete" in to_markdown(partial)
    assert "not complete" not in to_html(document)


def test_parts_without_content_are_left_out(document: Document) -> None:
    bare = replace(document, slices=(), causes={}, calibration=(), risk_coverage=(), latencies=(), worst=(),
                   comparison=None, sources=())  # fmt: skip
    page = to_html(bare)
    for part in ("slices", "causes", "confidence", "latency", "comparison"):
        assert f'id="{part}"' not in page
    assert 'id="scores"' in page


def test_markdown_tables_keep_their_columns(document: Document) -> None:
    lines = to_markdown(document).splitlines()
    for start in [index for index, line in enumerate(lines) if re.match(r"^\|[-:|]+\|$", line)]:
        columns = lines[start].count("|")
        rows = [lines[start - 1], lines[start + 1]]
        assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [columns, columns]


def test_figures_are_shown_in_the_unit_of_their_metric() -> None:
    assert number(0.0734, "total_seconds") == "73 ms"
    assert number(12.34, "total_seconds") == "12.34 s"
    assert number(0.12345, "ndcg@10") == "0.123"
    assert number(12345.6, "tokens") == "12,346"
