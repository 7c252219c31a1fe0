"""The rendered regulations keep every word of the passages, and say nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from evaluations.datasets.render_regulations import Passage, missing, render

SAMPLE_BANK = Path(__file__).parents[3] / "sample_bank"
TITLE = "12 CFR § 1005.11 Procedures for resolving errors. — Regulation E (Electronic Fund Transfers)"
INTRODUCTION = "(c) Time limits. "
LONG = "(d) Remedies. The institution shall correct the error without delay and in full by:"


def _section(*rows: tuple[str, str]) -> str:
    (document,) = render([Passage(f"1005-11-{label}", TITLE, text) for label, text in rows]).values()
    return document.split("\n\n", 3)[3].strip()


def test_the_text_of_an_enclosing_paragraph_stands_once_above_its_pieces() -> None:
    section = _section(
        ("c-1", f"{INTRODUCTION}(1) Ten-day period."),
        ("c-2-i", f"{INTRODUCTION}(2) Forty-five days, if it: (i) Credits the account."),
        ("c-2-ii", f"{INTRODUCTION}(2) Forty-five days, if it: (ii) Informs the consumer."),
    )
    assert section == (
        "(c) Time limits.\n\n"
        "- (1) Ten-day period.\n"
        "- (2) Forty-five days, if it:\n"
        "  - (i) Credits the account.\n"
        "  - (ii) Informs the consumer."
    )


def test_a_prefix_that_was_cut_is_recognised_and_the_whole_text_is_shown() -> None:
    section = _section(("d", LONG), ("d-1", f"{LONG[:40].rstrip()} … (1) Refunding."), ("d-2", f"{LONG} (2) Paying."))
    assert section == f"{LONG}\n\n- (1) Refunding.\n- (2) Paying."


def test_enumerations_inside_a_passage_become_lists() -> None:
    section = _section(("a", "(a) Error. (1) It means: (i) A wrong transfer; or (ii) A missing one. (2) Not a refund."))
    assert (
        section
        == "(a) Error.\n\n- (1) It means:\n  - (i) A wrong transfer; or\n  - (ii) A missing one.\n- (2) Not a refund."
    )


def test_references_to_paragraphs_are_not_taken_for_enumerations() -> None:
    text = "(b) The periods in paragraphs (c)(1) and (2) of this section, and in § 1005.6(b), run from receipt."
    assert _section(("b", text)) == text


def test_definitions_that_begin_alike_are_not_cut_apart() -> None:
    section = _section(
        ("b-EscrowAccount", "(b) Definitions. Escrow account means an account."),
        ("b-EscrowAnalysis", "(b) Definitions. Escrow account analysis means a balance."),
    )
    assert section == (
        "(b) Definitions.\n\n- Escrow account means an account.\n- Escrow account analysis means a balance."
    )


def test_every_section_has_a_heading_and_the_file_the_name_of_its_regulation() -> None:
    documents = render([Passage("1005-11-a", TITLE, "(a) Error.")])
    ((name, text),) = documents.items()
    assert name == "regulation-e-1005-electronic-fund-transfers.md"
    assert text.startswith("# Regulation E: Electronic Fund Transfers (12 CFR Part 1005)\n")
    assert "\n## § 1005.11 Procedures for resolving errors\n" in text
    assert "Not current law" in text


def test_a_lost_word_is_found() -> None:
    passage = Passage("1005-11-a", TITLE, "(a) The deadline is ten days.")
    ((name, text),) = render([passage]).items()
    assert missing([passage], {name: text}) == []
    assert missing([passage], {name: text.replace("ten", "")}) == ["1005-11-a"]


def test_no_top_paragraph_of_the_shipped_regulations_stands_twice_in_its_section() -> None:
    files = sorted((SAMPLE_BANK / "regulations").glob("*.md"))
    assert len(files) == 24
    for file in files:
        for section in file.read_text(encoding="utf-8").split("\n## ")[1:]:
            lines = Counter(line for line in section.splitlines() if line.startswith("("))
            assert [line for line, times in lines.items() if times > 1] == [], f"{file.name}: {section[:40]}"


def test_every_shipped_filing_has_a_title_that_names_company_and_period() -> None:
    filings = sorted((SAMPLE_BANK / "filings").glob("*.pdf"))
    assert len(filings) == 12
    titles = [file.with_name(f"{file.name}.meta.yaml").read_text(encoding="utf-8") for file in filings]
    assert len(set(titles)) == 12
    assert all("Form 10-Q, quarter ended" in title for title in titles)
