"""A number counts as cited only in the right row, column, period and scale, or as the result of shown arithmetic."""

from __future__ import annotations

import pytest

from rag.query.cells import cells
from rag.query.number_grounding import trace

MARKDOWN = """Amounts in thousands, except per share data.

| | Year ended December 31, | |
| | 2019 | 2018 |
|---|---|---|
| Interest income | 4,200 | 3,900 |
| Net income | 1,250 | 1,100 |
| Earnings per share | $2.41 | $2.70 |
"""
EXTRACTED = """(In millions)
Three Months Ended Nine Months Ended July 1, 2023 June 25, 2022 July 1, 2023 June 25, 2022
Net revenue 5,359 6,550 16,100 17,200
Operating expenses 4,010 4,400 12,000 12,900
"""
PROSE = (
    "The annual fee for a standard account is $25. The annual fee for a student account is $10. "
    "Revenue was $5 million in 2019 and $4 million in 2018. The notice must be sent within 60 days."
)


def reasons(statement: str, *sources: str) -> list[str]:
    return [each.reason for each in trace(statement, sources)[0]]


@pytest.mark.parametrize(
    "statement",
    [
        "Net income was $1,250 thousand in 2019.",
        "Net income was $1.25 million in the year ended December 31, 2019.",
        "Interest income rose to 4,200 thousand in 2019 from 3,900 thousand in 2018.",
        "Earnings per share were $2.41 in 2019.",
        "Net income was 1,250, 1,100 thousand in 2019 and 2018.",
    ],
)
def test_a_number_in_its_row_column_and_scale_is_traced(statement: str) -> None:
    assert reasons(statement, MARKDOWN) == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("Net income was $4,200 thousand in 2019.", "stands in another row, column or sentence"),
        ("Net income was $1,100 thousand in 2019.", "stands in another row, column or sentence"),
        ("Net income was $1,250 million in 2019.", "has another scale or unit there"),
        ("Net income was $1,250 in 2019.", "has another scale or unit there"),
        ("Net income was $1,520 thousand in 2019.", "is not in the cited sentences"),
        ("Net income was $1,250 thousand in 2019 and 2017.", "is not in the cited sentences"),
        ("Earnings per share were $2.41 thousand in 2019.", "has another scale or unit there"),
    ],
)
def test_a_number_of_another_row_column_scale_or_year_is_not_traced(statement: str, reason: str) -> None:
    assert reasons(statement, MARKDOWN) == [reason]


def test_columns_of_text_extracted_from_a_pdf_are_told_apart() -> None:
    assert reasons("Net revenue was $16,100 million in the nine months ended July 1, 2023.", EXTRACTED) == []
    assert reasons("Net revenue was $5,359 million in the nine months ended July 1, 2023.", EXTRACTED) != []
    assert reasons("Net revenue was $12,000 million in the nine months ended July 1, 2023.", EXTRACTED) != []


def test_a_number_in_prose_counts_where_its_sentence_is_about_the_same() -> None:
    assert reasons("The annual fee for a student account is $10.", PROSE) == []
    assert reasons("The annual fee for a student account is $60.", PROSE) != []
    assert reasons("Revenue was $4 million in 2018.", PROSE) == []
    assert reasons("Revenue was $4 million in 2019.", PROSE) == ["stands in another row, column or sentence"]
    assert reasons("The notice must be sent within sixty (60) days.", PROSE) == []


@pytest.mark.parametrize(
    ("statement", "right"),
    [
        ("Net income rose in 2019: 1,250 thousand − 1,100 thousand = 150 thousand.", True),
        ("Net income grew in 2019: (1,250 - 1,100) / 1,100 × 100 = 13.6%.", True),
        ("Net income rose from 1,100 thousand to 1,250 thousand in 2019, an increase of 13.6%.", True),
        ("Net income rose from 1,100 thousand to 1,250 thousand in 2019, an increase of 15.6%.", False),
        ("Net income rose in 2019: 1,250 - 1,100 = 250 thousand.", False),
        ("Net income grew by 13.6% in 2019.", False),
    ],
)
def test_a_result_needs_its_calculation_shown_and_right(statement: str, right: bool) -> None:  # noqa: FBT001
    table = MARKDOWN.replace("thousands", "dollars") if "thousand" not in statement else MARKDOWN
    assert (reasons(statement, table) == []) is right


@pytest.mark.parametrize(
    ("statement", "right"),
    [
        ("The change in net income between 2018 and 2019 was 1,250 - 1,100 = 150 thousand.", True),
        ("The change in net income between 2018 and 2019 was 1,250 - 1,100 = 150 million.", False),
        ("The change in net income between 2018 and 2019 was 1,250 - 1,100 = 150.", False),
        ("Net income grew between 2018 and 2019: ((1,250 - 1,100) / 1,100) * 100 = 13.6%.", True),
        ("Net income grew between 2018 and 2019: 1,250 / 1,100 - 1 = 13.6%.", True),
        ("Average net income of 2018 and 2019: (1,250 + 1,100) / 2 = 1,175 thousand.", True),
        ("Average net income of 2018 and 2019: (1,250 + 1,100) / 3 = 783 thousand.", False),
        ("Net income less the sum, in 2018 and 2019: -(1,250 + 1,100) / 2 = -1,175 thousand.", True),
        ("The change in net income between 2018 and 2019 was 1,250 - 100 = 1,150 thousand.", False),
        ("The change in net income between 2018 and 2019 was 3,900 - 1,100 = 2,800 thousand.", False),
    ],
)
def test_the_numbers_of_a_calculation_have_the_scale_of_its_result(statement: str, right: bool) -> None:  # noqa: FBT001
    assert (reasons(statement, MARKDOWN) == []) is right


def test_of_a_calculation_about_two_years_no_number_may_be_of_a_third() -> None:
    table = "(in thousands)\n\n| | 2019 | 2018 | 2017 |\n|---|---|---|---|\n| Net income | 1,250 | 1,100 | 900 |\n"
    asked = "The change in net income between 2018 and 2019 was"
    assert reasons(f"{asked} 1,250 - 1,100 = 150 thousand.", table) == []
    assert reasons(f"{asked} 1,250 - 900 = 350 thousand.", table) == ["stands in another row, column or sentence"]
    assert reasons("Net income between 2017 and 2019: (1,250 + 1,100 + 900) / 3 = 1,083 thousand.", table) == []


@pytest.mark.parametrize(
    ("statement", "right"),
    [
        ("The rate rose between 2018 and 2019 by 4.00 - 3.75 = 0.25%.", True),
        ("The rate rose between 2018 and 2019: (4.00 - 3.75) / 3.75 = 6.67%.", True),
        ("The mean rate of 2018 and 2019 was (4.00% + 3.75%) / 2 = 3.88%.", True),
        ("The rate rose between 2018 and 2019 by 4.00 - 3.75 = 6.67%.", False),
    ],
)
def test_percentages_are_calculated_with_or_without_their_sign(statement: str, right: bool) -> None:  # noqa: FBT001
    table = "| | 2019 | 2018 |\n|---|---|---|\n| Discount rate | 4.00% | 3.75% |\n"
    assert (reasons(statement, table) == []) is right


def test_an_operand_that_nothing_cited_holds_spoils_a_shown_calculation() -> None:
    assert reasons("Net income rose from 1,000 thousand to 1,250 thousand in 2019, an increase of 25%.", MARKDOWN) == [
        "is not in the cited sentences"
    ]


def test_a_named_calculation_counts_only_where_that_is_asked_for() -> None:
    statement = "The change in net income between 2018 and 2019 was 150 thousand."
    assert trace(statement, [MARKDOWN], arithmetic="named")[0] == []
    assert trace(statement, [MARKDOWN])[0] != []
    wrong = "The change in net income between 2018 and 2019 was 250 thousand."
    assert trace(wrong, [MARKDOWN], arithmetic="named")[0] != []


def test_cells_know_their_row_column_and_scale() -> None:
    found = {MARKDOWN[each.number.start : each.number.end].strip(): each for each in cells(MARKDOWN)}
    cell = found["1,100"]
    assert {"net", "incom"} <= cell.row
    assert "2018" in cell.column
    assert "2019" not in cell.column
    assert cell.scale == 1e3
    assert found["$2.41"].scale == 1.0
