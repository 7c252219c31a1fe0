"""Figures of verification: known values, undefined cases, and intervals that hold the figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluations.datasets.calculations import statements_with_calculations
from evaluations.datasets.grounding import claims, digest, number_statements, part_of
from evaluations.metrics.grounding import Rows, auroc, balanced_accuracy, digits_stand, interval

SUPPORTED = np.array([True, True, True, False, False])


def test_balanced_accuracy_weighs_both_kinds_alike() -> None:
    accepted = np.array([True, True, False, False, True])
    assert balanced_accuracy(SUPPORTED, accepted) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert balanced_accuracy(SUPPORTED, np.ones(5, dtype=bool)) == pytest.approx(0.5)


def test_auroc_counts_a_tie_as_half() -> None:
    assert auroc(SUPPORTED, np.array([0.9, 0.8, 0.5, 0.5, 0.1])) == pytest.approx(5.5 / 6)


def test_figures_without_both_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="supported statements and others"):
        auroc(np.array([True, True]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="supported statements and others"):
        balanced_accuracy(np.array([False]), np.array([True]))


def test_an_interval_holds_its_figure_and_is_the_same_every_time() -> None:
    rng = np.random.default_rng(1)
    supported = np.arange(200) % 2 == 0
    scores = supported + rng.normal(0, 1, 200)

    def figure(rows: Rows) -> float:
        return auroc(supported[rows], scores[rows])

    low, high = interval(figure, [str(each) for each in range(200)], resamples=300)
    assert low < auroc(supported, scores) < high
    assert interval(figure, [str(each) for each in range(200)], resamples=300) == (low, high)


def test_looking_for_digits_is_fooled_by_any_other_number_of_the_text() -> None:
    assert digits_stand("1,234 million", "revenue 1234, costs 5")
    assert digits_stand("5 million", "revenue 1234, costs 5")
    assert not digits_stand("6 million", "revenue 1234, costs 5")


def test_data_are_read_halved_by_table_and_fingerprinted(tmp_path: Path) -> None:
    for name in ("tatqa", "wice"):
        (tmp_path / name).mkdir()
    context = {"context_id": "c", "table": [["", "2019"], ["A|b", "5\n6"]], "paragraphs": ["Text."]}
    (tmp_path / "tatqa" / "contexts.jsonl").write_text(json.dumps(context) + "\n")
    statement = {
        "id": "s",
        "context_id": "c",
        "question": "q",
        "statement": "5",
        "kind": "literal",
        "label": "supported",
    }
    (tmp_path / "tatqa" / "number_statements.jsonl").write_text(json.dumps(statement) + "\n")
    claim = {"id": "w", "claim": "x", "evidence": ["y"], "label": "partially_supported"}
    (tmp_path / "wice" / "claims.jsonl").write_text(json.dumps(claim) + "\n")
    (read,) = number_statements(tmp_path)
    assert read.context == "|  | 2019 |\n| A/b | 5 6 |\n\nText."
    assert (read.supported, read.part) == (True, part_of("c"))
    found = claims(tmp_path)
    assert not found[0].supported
    assert digest(found) != digest([])
    assert {part_of(str(each)) for each in range(20)} == {"fit", "held out"}


def test_calculated_answers_come_with_their_calculation_and_with_wrong_operands(tmp_path: Path) -> None:
    folder = tmp_path / "tatqa"
    folder.mkdir()
    table = [["", "2019", "2018", "2017"], ["Income", "125", "110", "90"], ["Costs", "80", "70", "60"]]
    lines = {
        "contexts": [{"context_id": "c", "table": table, "paragraphs": []}],
        "number_statements": [
            {"id": "a-s", "statement": "15 million", "kind": "derived", "label": "supported"},
            {"id": "a-u", "statement": "51 million", "kind": "digit-swap", "label": "unsupported"},
            {"id": "b-s", "statement": "125 million", "kind": "literal", "label": "supported"},
        ],
        "qa": [
            {"id": "a", "answer_type": "arithmetic", "derivation": "125-110", "scale": "million"},
            {"id": "b", "answer_type": "span", "derivation": "", "scale": "million"},
        ],
    }
    for name, rows in lines.items():
        common = {"context_id": "c", "question": "q"}
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(common | row) + "\n" for row in rows))
    found = list(statements_with_calculations(tmp_path))
    given = {each.id: each.statement for each in found if not each.kind.startswith("operand")}
    assert given == {"a-s": "125-110 = 15 million", "a-u": "125-110 = 51 million", "b-s": "125 million"}
    exchanged = [each for each in found if each.kind.startswith("operand")]
    assert {each.kind for each in exchanged} == {"operand of the row", "operand of the column", "operand of elsewhere"}
    for each in exchanged:
        formula, _, result = each.statement.removesuffix(" million").partition(" = ")
        first, _, second = formula.partition("-")
        assert float(first) - float(second) == float(result)
        assert not each.supported
