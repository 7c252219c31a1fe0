"""Labels, steps, quotes and pages as the chat shows them."""

from __future__ import annotations

import pytest

from ui.rendering import (
    answer_text,
    citation_labels,
    citation_tooltip,
    page_markdown,
    quote_card,
    sentence_markdown,
    step_body,
    step_name,
)
from ui.wire import Answer, Citation, DocumentPage, PageHighlight, PassageHeader


def citation(**fields: object) -> Citation:
    return Citation.model_validate(
        {"marker": 1, "document_id": "d1", "title": "Regulation E", "quote": "ten days", **fields}
    )


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"section": "§ 1005.11 Procedures for resolving errors"}, "[1] Regulation E · § 1005.11"),
        ({"section": "See § 1 > Subpart B > § 1005.33 Errors"}, "[1] Regulation E · § 1005.33"),
        ({"title": "2023 Q2 AAPL.pdf", "page": 12, "marker": 2}, "[2] 2023 Q2 AAPL · p. 12"),
        ({"title": "fees.xlsx", "page": 2, "page_label": "Overdrafts"}, "[1] fees · Overdrafts"),
        ({"title": "10-Q", "page": 3, "page_label": "17", "section": "Item 2."}, "[1] 10-Q · p. 17"),
        ({"title": "word " * 40}, "[1] " + ("word " * 12).strip() + "… · p. 1"),
    ],
)
def test_a_button_names_document_and_place(fields: dict[str, object], label: str) -> None:
    assert citation_labels([citation(**fields)]) == [label]


def test_sources_of_the_same_document_are_named_once_in_a_row() -> None:
    sources = [
        citation(
            marker=1, title="Regulation E: Electronic Fund Transfers (12 CFR Part 1005)", section="§ 1005.11 Errors"
        ),
        citation(
            marker=2, title="Regulation E: Electronic Fund Transfers (12 CFR Part 1005)", section="§ 1005.18 Cards"
        ),
        citation(marker=3, document_id="d2", title="Form 10-Q (2023)", page=4),
        citation(marker=4, title="Rate: a table"),
    ]
    assert citation_labels(sources) == [
        "[1] Regulation E · § 1005.11",
        "[2] § 1005.18",
        "[3] Form 10-Q · p. 4",
        "[4] Rate: a table · p. 1",
    ]


def test_a_tooltip_is_the_quote_cut_at_a_word() -> None:
    assert citation_tooltip(citation()) == "“ten days”"
    long = citation_tooltip(citation(quote="number " * 200))
    assert long.endswith("number…”")
    assert len(long) < 430


def test_markers_become_links_to_their_buttons() -> None:
    assert sentence_markdown("Ten days [1] or [12].") == (
        "Ten days\u00a0[\\[1\\]](#source-1) or\u00a0[\\[12\\]](#source-12)."
    )


def test_a_finished_answer_shows_the_quote_at_its_marker_and_none_at_an_unknown_one() -> None:
    cited = citation(quote='It says "ten" \\ & `more`\ndays', section="§ 1005.11 Errors")
    text = answer_text(Answer(id="a", text="Ten [1], eleven [2].", citations=(cited,)))
    assert text == (
        """Ten\u00a0[\\[1\\]](#source-1 "Regulation E · § 1005.11: It says 'ten'  and 'more' days"), eleven \\[2\\]."""
    )


def test_the_step_counts_passages_and_documents() -> None:
    passages = [PassageHeader(document_id=each, title="T") for each in ("a", "a", "b")]
    assert step_name(passages) == "Searched 3 passages in 2 documents"
    assert step_name(passages[:1]) == "Searched 1 passage in 1 document"
    assert step_name([]) == "Searched the documents: nothing fits"


def test_the_step_lists_what_was_read_without_repeating_a_section() -> None:
    passages = [
        PassageHeader(document_id="a", title="Regulation E", section="§ 1005.11 Errors", page=1),
        PassageHeader(document_id="b", title="Q2 *x*.pdf", section="Item 2", page=7),
    ]
    assert step_body(passages, "What of *it*?").startswith("Understood as: What of \\*it\\*\\?\n\n1. **Reg")
    assert step_body(passages) == ("1. **Regulation E** · § 1005\\.11 Errors\n2. **Q2 \\*x\\*** · p\\. 7 · Item 2")


def test_the_quote_card_holds_the_exact_quote_and_a_link_of_our_own_host() -> None:
    card = quote_card(citation(quote="Within 10 days.", page=4), "/documents/d1/pages/4?start=0&end=5")
    assert card == "> Within 10 days\\.\n\n**p\\. 4** · [Open in a new tab](/documents/d1/pages/4?start=0&end=5)"


def page(text: str, quote: str) -> DocumentPage:
    start = text.index(quote)
    highlight = PageHighlight(start=start, end=start + len(quote))
    return DocumentPage(document_id="d", title="T", media_type="text/plain", text=text, highlight=highlight)


def test_quoted_words_are_bold_within_a_line() -> None:
    assert page_markdown(page("before quoted words after", "quoted words")) == "before **quoted words** after"


def test_quoted_words_are_bold_across_lines() -> None:
    assert page_markdown(page("a one\ntwo\n\nthree b", "one\ntwo\n\nthree")) == "a **one**\n\n**two**\n\n**three** b"


def test_a_quote_inside_a_word_still_becomes_bold() -> None:
    assert page_markdown(page("(quote).next", "(quote).")) == "**\\(quote\\)\\.**\u200anext"


def test_list_items_of_a_page_keep_their_depth_and_their_quote() -> None:
    assert page_markdown(page("- one\n  - two words", "two")) == "• one\n\n\u2003• **two** words"
    assert page_markdown(page("- one -1", "- one")) == "• **one** \\-1"


def test_a_page_without_a_quote_or_without_text_is_readable() -> None:
    bare = DocumentPage(document_id="d", title="T", media_type="text/plain", text="one\ntwo")
    assert page_markdown(bare) == "one\n\ntwo"
    assert page_markdown(bare.model_copy(update={"text": ""})) == "*This page has no text.*"
