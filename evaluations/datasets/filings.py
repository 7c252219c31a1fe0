"""Questions about company filings whose evidence pages are known (FinanceBench's form).

A folder holds `questions.jsonl` (id, question, evidence: doc_name and zero-based page_index) and `pdfs/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FilingPage = tuple[str, int]  # file name without extension, 1-based page


@dataclass(frozen=True, slots=True)
class Filings:
    """PDFs, questions by id, and for each question the pages that hold its evidence."""

    pdfs: Path
    questions: Mapping[str, str]
    evidence: Mapping[str, frozenset[FilingPage]]


def read_filings(folder: Path) -> Filings:
    """The filings in a folder. Raises `OSError` or `ValueError` for what is not in this form."""
    questions: dict[str, str] = {}
    evidence: dict[str, frozenset[FilingPage]] = {}
    for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        questions[row["id"]] = row["question"]
        evidence[row["id"]] = frozenset((each["doc_name"], each["page_index"] + 1) for each in row["evidence"])
    return Filings(folder / "pdfs", questions, evidence)
