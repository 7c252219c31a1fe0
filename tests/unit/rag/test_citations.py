"""What is cited stands where the citation says, word for word; what does not is withheld."""

from __future__ import annotations

import pytest

from rag.domain import DocumentPage, Passage
from rag.query.citations import Citations
from rag.query.evidence import Evidence, gather
from rag.query.grounding import SupportCheck, judge
from rag.query.statements import Statement, sentences_of
from rag.query.support import shipped_model
from rag.testing import WordEncoder

PAGE = """§ 11 Errors

A financial institution shall determine whether an error occurred within 10
business days of receiving a notice [1] of error. It shall report the results.

Fee 12.50 % 13.75 %
Rate 1.0 % 2.0 %
"""


def passage(start: int, end: int, text: str = PAGE, page: int = 3, score: float = 1.0) -> Passage:
    return Passage(f"d-{start}", "d", "Rules", "Errors", page, "", start, end, text[start:end], score)


EVIDENCE = [
    Evidence(passage(0, len(PAGE)), DocumentPage("d", 3, "", PAGE), 0, len(PAGE), 1.0),
    Evidence(passage(0, 12), DocumentPage("d", 3, "", PAGE), 0, 12, 0.5),
]
CHECK = SupportCheck(WordEncoder(), shipped_model())


def test_a_quotation_over_a_line_break_is_found_with_its_exact_span() -> None:
    statement = Statement(
        "", "A financial institution shall determine whether an error occurred within 10 business days [1]"
    )
    verdict = judge(statement, EVIDENCE, "verbatim")
    citations = Citations(EVIDENCE)
    text, markers = citations.cite(statement, verdict)
    (cited,) = citations.all
    assert verdict.supported
    assert text.endswith("business days [1]")
    assert markers == (1,)
    assert cited.quote == PAGE[cited.start : cited.end]
    assert " ".join(cited.quote.split()) == text.removesuffix(" [1]")
    assert cited.url == f"/v1/documents/d/pages/3?start={cited.start}&end={cited.end}"


def test_a_number_in_brackets_inside_a_quotation_cites_nothing() -> None:
    statement = Statement("", "business days of receiving a notice \\[1] of error. [1]")
    verdict = judge(statement, EVIDENCE, "verbatim")
    text, markers = Citations(EVIDENCE).cite(statement, verdict)
    assert verdict.supported
    assert text == "business days of receiving a notice (1) of error. [1]"
    assert markers == (1,)


@pytest.mark.proves("AISVS 7.4.2", "AISVS 7.4.3")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("It shall report the results.", "it cites none of the passages"),
        ("It shall report the results. [7]", "it cites none of the passages"),
        ("It shall report the result. [1]", "the cited passage does not hold these words"),
        ("It shall report the results. [2]", "the cited passage does not hold these words"),
    ],
)
def test_what_is_not_quoted_from_the_cited_passage_is_unsupported(text: str, reason: str) -> None:
    verdict = judge(Statement("", text), EVIDENCE, "verbatim")
    assert (verdict.supported, verdict.reason) == (False, reason)


@pytest.mark.proves("AISVS 7.4.2")
def test_an_unknown_marker_is_dropped_and_counted() -> None:
    statement = Statement("", "It shall report the results. [9][1]")
    verdict = judge(statement, EVIDENCE, "verbatim")
    assert (verdict.supported, verdict.unknown) == (True, 1)
    assert Citations(EVIDENCE).cite(statement, verdict)[0] == "It shall report the results. [1]"


def test_a_paraphrase_is_supported_by_words_and_numbers_but_only_where_paraphrasing_is_allowed() -> None:
    statement = Statement("", "The institution determines within 10 business days whether an error occurred. [1]")
    assert judge(statement, EVIDENCE, "overlap", CHECK).supported
    assert not judge(statement, EVIDENCE, "verbatim").supported


@pytest.mark.proves("LLM09", "AISVS 12.3.2")
def test_a_paraphrase_with_another_number_is_unsupported() -> None:
    statement = Statement("", "The institution determines within 45 business days whether an error occurred. [1]")
    verdict = judge(statement, EVIDENCE, "overlap", CHECK)
    assert (verdict.supported, verdict.reason) == (False, "the number 45 is not in the cited sentences")


def test_each_row_of_a_table_cites_its_own_line() -> None:
    statement = Statement("", "| | Fee |\n|---|---|\n| Fee [1] | 12.50 % | 13.75 % |\n| Rate [1] | 1.0 % | 2.0 % |")
    citations = Citations(EVIDENCE)
    text, _ = citations.cite(statement, judge(statement, EVIDENCE, "verbatim"))
    assert [each.quote for each in citations.all] == ["Fee 12.50 % 13.75 %", "Rate 1.0 % 2.0 %"]
    assert "| Rate [2] | 1.0 %" in text


def test_a_table_with_cells_of_two_lines_in_one_row_is_unsupported() -> None:
    statement = Statement("", "| | Fee |\n|---|---|\n| Fee [1] | 1.0 % | 2.0 % |")
    assert not judge(statement, EVIDENCE, "verbatim").supported


def test_the_same_words_are_cited_under_one_number() -> None:
    citations = Citations(EVIDENCE)
    statement = Statement("", "It shall report the results. [1]")
    for _ in range(2):
        text, _ = citations.cite(statement, judge(statement, EVIDENCE, "verbatim"))
        assert text.endswith("[1]")
    assert len(citations.all) == 1


def test_evidence_completes_sentences_and_joins_neighbours() -> None:
    cut = PAGE.index("whether an error")
    middle = PAGE.index("of error.")
    chunks = [passage(cut, middle), passage(middle, middle + 12, score=0.5)]
    (found,) = gather(chunks, lambda document, number: DocumentPage(document, number, "", PAGE))
    assert found.text.startswith("A financial institution shall determine")
    assert found.text.endswith("It shall report the results.")
    assert found.support == pytest.approx(1.0 + 0.15 * 0.5)


def test_evidence_whose_page_changed_is_left_out() -> None:
    assert gather([passage(0, 12)], lambda document, number: DocumentPage(document, number, "", "another text")) == []


TABLE = """Consolidated results, in millions

| | 2019 | 2018 |
|---|---|---|
| Net revenue | 5,359 | 6,550 |
| Net income | 410 | 395 |
"""
FIGURES = [Evidence(passage(0, len(TABLE), TABLE), DocumentPage("d", 3, "", TABLE), 0, len(TABLE), 1.0)]


def test_a_figure_cites_its_row_and_a_figure_of_another_row_or_year_is_withheld() -> None:
    verdict = judge(Statement("", "Net income was $410 million in 2019. [1]"), FIGURES, "overlap", CHECK)
    assert verdict.supported
    assert "| Net income | 410 | 395 |" in {TABLE[each.start : each.end] for each in verdict.quotes[0]}
    for wrong in ("Net income was $5,359 million in 2019. [1]", "Net income was $395 million in 2019. [1]"):
        verdict = judge(Statement("", wrong), FIGURES, "overlap", CHECK)
        assert not verdict.supported
        assert "another row, column or sentence" in verdict.reason


def test_a_statement_about_somebody_whom_the_citation_does_not_name_is_unsupported() -> None:
    text = "There Wachovia Bancorp shall determine whether an error occurred within 10 business days of a notice. [1]"
    verdict = judge(Statement("", text), EVIDENCE, "overlap", CHECK)
    assert (verdict.supported, verdict.reason) == (False, "the cited passage does not name what it names")


def test_every_sentence_of_a_statement_needs_markers_of_its_own() -> None:
    statement = Statement("\n- ", "Fees are waived for everybody. It shall report the results. [2][1]")
    assert sentences_of(statement) == [
        Statement("\n- ", "Fees are waived for everybody."),
        Statement(" ", "It shall report the results. [2][1]"),
    ]
    assert sentences_of(Statement("", "One sentence [1].")) == [Statement("", "One sentence [1].")]
    assert sentences_of(Statement("", "| a |\n|---|\n| b [1] |")) == [Statement("", "| a |\n|---|\n| b [1] |")]
