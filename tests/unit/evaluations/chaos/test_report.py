"""Results of rows: judged, kept from run to run, and shown in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluations.chaos.__main__ import ROWS
from evaluations.chaos.report import BEGIN, END, Result, keep, read, result, tell, write_into
from evaluations.chaos.rows import Outcome

ROOT = Path(__file__).parents[4]
NAMED = ("F1", "a fault", "no harm")
NOTHING = {"responses": 0, "own": 0, "foreign": 0}


def _result(number: int, *, passed: bool | None = True, measured: str = "as expected") -> Result:
    return result((f"F{number}", "a fault", "no harm"), Outcome(passed, measured), "short", NOTHING, NOTHING)


def test_a_row_in_which_a_tenant_saw_another_ones_word_failed_whatever_else_came_of_it() -> None:
    leaked = {"responses": 9, "own": 4, "foreign": 1}
    found = result(NAMED, Outcome(True, "fine"), "short", NOTHING, leaked)
    assert found.passed is False
    assert "another tenant's in 1" in tell(found)


def test_only_what_the_row_itself_saw_counts() -> None:
    before, after = {"responses": 9, "own": 4, "foreign": 1}, {"responses": 12, "own": 6, "foreign": 1}
    found = result(NAMED, Outcome(True, "fine"), "short", before, after)
    assert found.passed
    assert found.seen == {"responses": 3, "own": 2, "foreign": 0}


def test_a_row_that_cannot_run_here_is_neither_met_nor_failed() -> None:
    found = _result(20, passed=None, measured="root only")
    assert found.passed is None
    assert tell(found).startswith("-")


def test_a_later_run_replaces_its_own_rows_only(tmp_path: Path) -> None:
    keep(tmp_path, [_result(2), _result(10, passed=False)])
    keep(tmp_path, [_result(10), _result(1)])
    assert [(each.id, each.passed) for each in read(tmp_path)] == [("F1", True), ("F2", True), ("F10", True)]


def test_the_table_stands_between_its_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_into(document, [_result(3, passed=False, measured="1 | 2")])
    text = document.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n| # |")
    assert text.endswith(f"{END}\nafter\n")
    assert "| F3 | a fault | no harm | 1 / 2 (short) | **not met** |" in text
    assert "old" not in text
    document.write_text("without", encoding="utf-8")
    with pytest.raises(ValueError, match="has no"):
        write_into(document, [])


def test_all_rows_of_the_matrix_exist_and_stand_in_the_documentation() -> None:
    ids = {row.id for row in ROWS} | {"F30", "F31"}
    assert ids == {f"F{number}" for number in range(1, 32)}
    text = (ROOT / "docs" / "chaos.md").read_text(encoding="utf-8")
    assert all(each in text for each in ids)
