"""The matrix of requirements says what the marks of the tests say, and cannot say more."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluations.proof_matrix import MATRIX, ROOT, Standard, matrix, read_proofs, read_standards, written
from rag.errors import ConfigurationError

ROWS = [
    {"id": "X 1", "level": 1, "asks": "Proved."},
    {"id": "X 2", "asks": "Partly.", "open": "A part is missing."},
    {"id": "X 3", "asks": "Nobody proves it."},
    {"id": "X 4", "asks": "Not ours.", "duty": "Yours."},
    {"id": "X 5", "asks": "No such thing.", "not_applicable": "There is none."},
    {"id": "X 6", "asks": "Written down.", "document": "docs/a.md"},
]


def _standards(rows: list[dict[str, object]]) -> list[Standard]:
    return [Standard.model_validate({"standard": "X", "source": "s", "chapters": [{"title": "C", "rows": rows}]})]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("a")
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    return tmp_path


def _tests(checkout: Path, text: str) -> Path:
    (checkout / "tests" / "unit" / "test_a.py").write_text(f"import pytest\n\n{text}\n")
    return checkout


def test_the_committed_document_is_current() -> None:
    assert (ROOT / MATRIX).read_text(encoding="utf-8") == written(ROOT), "run `python -m evaluations.proof_matrix`"


def test_a_row_stands_as_its_tests_and_its_remark_say(checkout: Path) -> None:
    _tests(
        checkout,
        '@pytest.mark.proves("X 1")\n@pytest.mark.proves("X 2")\ndef test_it_holds():\n    pass\n\n'
        'class TestMore:\n    @pytest.mark.proves("X 1")\n    async def test_more(self):\n        pass\n',
    )
    lines = matrix(_standards(ROWS), read_proofs(checkout), checkout).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| X ") and "**" in line}
    states = [rows[name].split("**")[1] for name in ("X 1 (L1)", "X 2", "X 3", "X 4", "X 5", "X 6")]
    assert states == ["proved", "in part", "open", "organisation", "does not apply", "documented"]
    assert "[it holds](../tests/unit/test_a.py)<br>[more](../tests/unit/test_a.py)" in rows["X 1 (L1)"]
    assert "| X | 1 | 1 | 1 | 1 | 1 | 1 | 6 |" in lines


def test_a_test_that_goes_takes_its_proof_with_it(checkout: Path) -> None:
    _tests(checkout, '@pytest.mark.proves("X 1")\ndef test_it_holds():\n    pass')
    assert "**proved**" in matrix(_standards(ROWS[:1]), read_proofs(checkout), checkout)
    _tests(checkout, "def test_it_holds():\n    pass")
    assert "**open**" in matrix(_standards(ROWS[:1]), read_proofs(checkout), checkout)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('@pytest.mark.proves("X 9")\ndef test_a():\n    pass', "X 9, which docs/requirements does not have"),
        ('@pytest.mark.proves("X 5")\ndef test_a():\n    pass', "X 5 does not apply"),
        ('@pytest.mark.proves("X 1")\n@pytest.mark.skip\ndef test_a():\n    pass', "proves nothing while .* skip"),
        ('pytestmark = [pytest.mark.gpu]\n@pytest.mark.proves("X 1")\ndef test_a():\n    pass', "marked gpu"),
        ('pytestmark = pytest.mark.proves("X 1")', "put the mark `proves` on one test"),
        ('@pytest.mark.proves("X 1")\ndef helper():\n    pass', "put the mark `proves` on one test"),
        ("@pytest.mark.proves(NAME)\ndef test_a():\n    pass", "ids as plain texts"),
        ("@pytest.mark.proves()\ndef test_a():\n    pass", "ids as plain texts"),
    ],
)
def test_a_mark_that_cannot_count_is_refused(checkout: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        matrix(_standards(ROWS), read_proofs(_tests(checkout, text)), checkout)


def test_a_document_that_is_not_there_and_an_id_twice_are_refused(checkout: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"docs/b\.md, which is not there"):
        matrix(_standards([{"id": "X 6", "asks": "", "document": "docs/b.md"}]), [], checkout)
    row = "{standard: X, source: s, chapters: [{title: C, rows: [{id: X 1, asks: a}, {id: X 1, asks: b}]}]}"
    (checkout / "docs" / "x.yaml").write_text(row)
    with pytest.raises(ConfigurationError, match="twice: X 1"):
        read_standards(checkout / "docs")


def test_a_row_gives_one_reason_only(checkout: Path) -> None:
    rows = "rows: [{id: X 1, asks: a, open: b, duty: c}]"
    (checkout / "docs" / "x.yaml").write_text(f"{{standard: X, source: s, chapters: [{{title: C, {rows}}}]}}")
    with pytest.raises(ConfigurationError, match="keep one"):
        read_standards(checkout / "docs")
