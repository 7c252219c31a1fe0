"""Sentences, list items and table rows keep their places in the text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.query.segments import segments
from rag.query.sentences import sentence_spans
from rag.query.tables import column_names, read_row

LIST = """(c) Time limits. (2) Forty-five day period. The institution may take 45 days, provided it does the following:
(i) Credits the account within 10 business days. It may withhold $50. It need not credit the account if:
(A) No confirmation arrives; or
(B) The account is subject to Regulation T;
(ii) Informs the consumer; and
(iii) Corrects the error.
"""

STATEMENT = """Apple Inc.
CONDENSED CONSOLIDATED STATEMENTS OF OPERATIONS (Unaudited)
(In millions)
Three Months Ended Nine Months Ended
July 1,
2023
June 25,
2022
July 1,
2023
June 25,
2022
Net sales:
Products $ 60,584 $ 63,355 $ 230,901 $ 245,241
Total net sales 81,797 82,959 293,787 304,182
Gross margin 36,413 35,885 128,721 132,687
Apple Inc. | Q3 2023 Form 10-Q | 1
"""


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentence_spans(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Under § 1005.6(b) of this part, see 15 U.S.C. 1693 et seq. and No. 5, liability is limited.",
        "The rate rose to 3.5 percent, i.e. by 0.5 points.",
        "Apple Inc. and its subsidiaries sell phones.",
        "Amounts as of Jan. 29, 2023 are in millions.",
        "The U.S. Treasury issued it.",
    ],
)
def test_abbreviations_do_not_end_sentences(text: str) -> None:
    assert sentences(text) == [text]


def test_sentences_end_at_full_stops_questions_and_closing_quotes() -> None:
    assert sentences("It is due. Is it? “It is.” The Act applies.") == [
        "It is due.",
        "Is it?",
        "“It is.”",
        "The Act applies.",
    ]


def test_a_company_form_ends_a_sentence_when_the_next_word_opens_one() -> None:
    assert sentences("It was sold by Apple Inc. The buyer paid.") == ["It was sold by Apple Inc.", "The buyer paid."]


@given(st.text(max_size=300))
def test_spans_are_in_order_and_lose_only_white_space(text: str) -> None:
    spans = sentence_spans(text)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert "".join("".join(text[span.start : span.end].split()) for span in spans) == "".join(text.split())


@given(st.text(alphabet=st.sampled_from("aB1 .,:;()|$%\n-•"), max_size=200))
def test_segments_of_any_text_lie_inside_it(text: str) -> None:
    found = segments(text)
    assert all(0 <= each.start <= each.end <= len(text) for each in found)
    assert all(each.lead is None or 0 <= each.lead < len(found) for each in found)


def test_items_know_what_leads_into_them_even_around_an_inner_list() -> None:
    found = segments(LIST)
    led = {LIST[each.start : each.end]: LIST[found[each.lead].start :][:15] for each in found if each.lead is not None}
    assert led == {
        "Credits the account within 10 business days.": "The institution",
        "No confirmation arrives; or": "It need not cre",
        "The account is subject to Regulation T;": "It need not cre",
        "Informs the consumer; and": "The institution",
        "Corrects the error.": "The institution",
    }


def test_titles_of_numbered_paragraphs_are_no_sentences_but_are_remembered() -> None:
    found = segments(LIST)
    lead = next(each for each in found if each.kind == "lead_in")
    assert [LIST[title.start : title.end] for title in lead.titles] == ["Time limits.", "Forty-five day period."]
    assert "Forty-five day period." not in {LIST[each.start : each.end] for each in found if each.kind == "sentence"}


def test_rows_of_a_statement_have_their_group_until_its_total() -> None:
    rows = [each for each in segments(STATEMENT) if each.kind == "row"]
    groups = [STATEMENT[each.group.start : each.group.end] if each.group else "" for each in rows]
    assert groups == ["Net sales:", "Net sales:", ""]


def test_columns_are_named_from_the_lines_above_the_table() -> None:
    row = next(each for each in segments(STATEMENT) if each.kind == "row")
    assert row.header is not None
    assert column_names(STATEMENT[row.header.start : row.header.end], 4) == (
        "Three Months Ended July 1, 2023",
        "Three Months Ended June 25, 2022",
        "Nine Months Ended July 1, 2023",
        "Nine Months Ended June 25, 2022",
    )


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (
            "Three Months Ended Oct 29, Oct 30, 2023 2022",
            ("Three Months Ended Oct 29, 2023", "Three Months Ended Oct 30, 2022"),
        ),
        (
            "Three Months Ended\nJune 30,\n2022 2023",
            ("Three Months Ended June 30, 2022", "Three Months Ended June 30, 2023"),
        ),
        ("2022 Change", ("2022", "Change")),
        ("no columns here", ()),
    ],
)
def test_headers_of_filings_are_read_in_the_way_that_fits_the_cells(header: str, names: tuple[str, ...]) -> None:
    assert column_names(header, 2) == names


@pytest.mark.parametrize(
    "line",
    ["fiscal year ended September 24, 2022", "Item 2", "first nine months of 2023", "Page 12", "We sold 5, then 6"],
)
def test_prose_that_ends_in_numbers_is_no_row(line: str) -> None:
    assert read_row(line) is None


def test_a_row_keeps_negative_amounts_and_percentages_whole() -> None:
    row = read_row("Americas $ 35,383 $ 37,472 (6)% $ (129)")
    assert row is not None
    assert (row.label, row.cells) == ("Americas", ("$ 35,383", "$ 37,472", "(6)%", "$ (129)"))
