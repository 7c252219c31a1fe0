"""Pages become chunks: verbatim, complete, within the model's window, cut where the text pauses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from tokenizers import Tokenizer

from connectors.base import Page, SourceDocument
from rag.ingestion.splitting import PageSplitter, indexed_text, split
from rag.models.batching import load_tokenizer
from rag.models.weights import find_weights
from rag.settings import SplittingSettings

WINDOW = 256


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(find_weights(""))


def document(*pages: Page | str, title: str = "Fee rules") -> SourceDocument:
    made = tuple(page if isinstance(page, Page) else Page(n, page, 0) for n, page in enumerate(pages, 1))
    return SourceDocument("0123456789abcdef", "file:a", title, "text/plain", "f", b"", made)


def chunks(tokenizer: Tokenizer, source: SourceDocument, window: int = WINDOW, overlap: int = 32) -> list[TextNode]:
    return split(source, tokenizer, SplittingSettings(window_tokens=window, overlap_tokens=overlap))


def pieces(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text).ids)


def prose(sentences: int) -> str:
    return " ".join(
        f"The institution shall send notice number {n} to the consumer in writing." for n in range(sentences)
    )


def uncovered(page: Page, nodes: Sequence[TextNode]) -> str:
    """The characters of the page that no chunk holds."""
    left = list(page.text)
    for node in nodes:
        for place in range(node.metadata["start"], node.metadata["end"]):
            left[place] = " "
    return "".join(left).strip()


TEXTS = st.text(alphabet=st.sampled_from("ab1.,;:()\t\n\r |§(é漢 "), max_size=3000) | st.text(max_size=600)


@settings(deadline=None, max_examples=150)
@given(text=TEXTS, title=st.text(max_size=60), offsets=st.lists(st.integers(0, 500), max_size=4))
def test_chunks_are_verbatim_complete_and_within_the_window(
    tokenizer: Tokenizer, text: str, title: str, offsets: list[int]
) -> None:
    headings = tuple((min(offset, len(text)), 1 + offset % 6, f"Part {offset}") for offset in sorted(set(offsets)))
    page = Page(3, text, 0, "III", headings)
    nodes = chunks(tokenizer, document(page, title=title))
    assert uncovered(page, nodes) == ""
    for node in nodes:
        start, end = node.metadata["start"], node.metadata["end"]
        assert text[start:end] == node.text == node.text.strip()
        assert pieces(tokenizer, indexed_text(node)) <= WINDOW
    assert len({node.node_id for node in nodes}) == len(nodes)
    assert [node.metadata["start"] for node in nodes] == sorted(node.metadata["start"] for node in nodes)


def test_ids_name_document_and_page_and_stay_the_same(tokenizer: Tokenizer) -> None:
    source = document(prose(60), prose(5))
    first, again = chunks(tokenizer, source), chunks(tokenizer, source)
    assert [node.node_id for node in first] == [node.node_id for node in again]
    assert {node.node_id.rsplit("-", 1)[0] for node in first} == {"0123456789abcdef-1", "0123456789abcdef-2"}


def test_another_text_at_the_same_place_has_another_id(tokenizer: Tokenizer) -> None:
    before, after = chunks(tokenizer, document("Fee: 10")), chunks(tokenizer, document("Fee: 12"))
    assert before[0].node_id != after[0].node_id


def test_small_paragraphs_are_kept_together(tokenizer: Tokenizer) -> None:
    assert len(chunks(tokenizer, document("One rule.\n\nAnother rule.\n\nA third rule."))) == 1


def test_a_full_window_is_cut_at_the_end_of_a_paragraph(tokenizer: Tokenizer) -> None:
    first, second = prose(12), prose(14)
    nodes = chunks(tokenizer, document(f"{first}\n\n{second}"))
    assert nodes[0].text == first


def test_prose_is_cut_between_sentences_and_repeats_the_last_one(tokenizer: Tokenizer) -> None:
    nodes = chunks(tokenizer, document(prose(60)))
    assert all(node.text.endswith(".") and node.text.startswith("The institution") for node in nodes)
    assert all(later.metadata["start"] < earlier.metadata["end"] for earlier, later in pairwise(nodes))


def test_list_items_are_not_torn(tokenizer: Tokenizer) -> None:
    items = [
        f"({letter}) the creditor must keep record {letter} of the account for two years after it"
        for letter in "abcdefghijklmnopqrstuvw"
    ]
    nodes = chunks(tokenizer, document("A creditor must do this:\n" + "\n".join(items)))
    assert len(nodes) > 1
    assert all(node.text.startswith("(") for node in nodes[1:])


def test_a_heading_starts_a_chunk_and_is_its_section(tokenizer: Tokenizer) -> None:
    body = prose(9)
    text = f"Fees\n{body}\nLimits\n{body}"
    page = Page(1, text, 0, "", ((0, 1, "Fees"), (text.index("Limits"), 1, "Limits")))
    nodes = chunks(tokenizer, document(page))
    assert [(node.metadata["section"], node.text.split("\n")[0]) for node in nodes] == [
        ("Fees", "Fees"),
        ("Limits", "Limits"),
    ]


def test_the_section_goes_on_over_pages_until_a_heading_of_its_level(tokenizer: Tokenizer) -> None:
    first = Page(1, "Part A\nScope\nIt applies.", 0, "", ((0, 1, "Part A"), (7, 2, "Scope")))
    second = Page(2, "It goes on.", 0)
    third = Page(3, "Part B\nAll else.", 0, "", ((0, 1, "Part B"),))
    nodes = chunks(tokenizer, document(first, second, third))
    assert [node.metadata["section"] for node in nodes] == ["Part A", "Part A > Scope", "Part B"]


def test_title_and_section_stand_before_the_indexed_text(tokenizer: Tokenizer) -> None:
    page = Page(1, "Wire transfers cost $25.", 0, "", ((0, 1, "Prices"),))
    assert indexed_text(chunks(tokenizer, document(page))[0]) == "Fee rules\nPrices\nWire transfers cost $25."


def test_a_long_title_leaves_most_of_the_window_to_the_text(tokenizer: Tokenizer) -> None:
    node = chunks(tokenizer, document(prose(60), title="Amendment of the terms and conditions " * 30))[0]
    assert pieces(tokenizer, node.text) > WINDOW / 2
    assert pieces(tokenizer, indexed_text(node)) <= WINDOW


@pytest.mark.parametrize("separator", ["\t", " | "])
def test_rows_stay_whole_and_a_divided_table_repeats_its_header(tokenizer: Tokenizer, separator: str) -> None:
    rows = [separator.join(("Account", "Monthly fee", "Overdraft fee"))]
    rows += [separator.join((f"Account kind {n}", f"${n}.50", f"${n + 3}.00")) for n in range(80)]
    page = Page(1, "Fees in force.\n\n" + "\n".join(rows) + "\n\nAll fees are monthly.", 0)
    nodes = chunks(tokenizer, document(page))
    lines = {line for node in nodes for line in node.text.splitlines()}
    assert lines <= {*page.text.splitlines()}
    continued = [node for node in nodes if node.text.startswith("Account kind")]
    assert len(continued) > 1
    assert all("Account Monthly fee Overdraft fee" in indexed_text(node).replace(" |", "") for node in continued)
    assert all(pieces(tokenizer, indexed_text(node)) <= WINDOW for node in nodes)


def test_a_row_longer_than_the_window_is_divided(tokenizer: Tokenizer) -> None:
    row = "\t".join(f"cell {n}" for n in range(300))
    page = Page(1, f"head\tline\n{row}", 0)
    assert uncovered(page, chunks(tokenizer, document(page))) == ""


@pytest.mark.parametrize("unit", ["a", "word ", "x.", ")", "\t|", "漢", ".)", "\u200b ", "a\n"])
def test_a_paragraph_of_150000_characters_without_a_break_is_divided(tokenizer: Tokenizer, unit: str) -> None:
    page = Page(1, (unit * 150_000)[:150_000], 0)
    nodes = chunks(tokenizer, document(page))
    assert max(len(node.text) for node in nodes) < 6_000
    assert uncovered(page, nodes) == ""


def test_pages_without_words_have_no_chunks(tokenizer: Tokenizer) -> None:
    assert chunks(tokenizer, document("", " \n\t", "\u00a0\n")) == []


def test_it_is_a_llama_index_transformation_of_page_nodes(tokenizer: Tokenizer) -> None:
    splitter = PageSplitter(tokenizer=tokenizer, window_tokens=WINDOW, overlap_tokens=32)
    page = TextNode(text=prose(40), metadata={"document_id": "d", "title": "T", "page": 7, "page_label": "vii"})
    made = splitter([page])
    assert len(made) > 1
    assert {(node.metadata["document_id"], node.metadata["page"], node.metadata["page_label"]) for node in made} == {
        ("d", 7, "vii")
    }
