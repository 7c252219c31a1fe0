"""Pages and documents that were read once are read again when the corpus changed, and not before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rag.domain import Document, DocumentPage
from rag.errors import NotFound
from rag.governance.access import LiveDocuments
from rag.query.remembering import RememberedPages


class Corpus:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.number = 1
        self.pages_read: list[tuple[str, int]] = []
        self.documents_read: list[str] = []
        self.labels: frozenset[str] = frozenset()

    def snapshot(self) -> int:
        return self.number

    def page(self, document_id: str, number: int) -> DocumentPage:
        if document_id == "nowhere":
            raise NotFound("gone")
        self.pages_read.append((document_id, number))
        return DocumentPage(document_id, number, "", "ten chars.")

    def live(self, document_ids: Iterable[str]) -> dict[str, Document]:
        found = [each for each in document_ids if each != "nowhere"]
        self.documents_read += found
        return {each: _document(each, self.labels) for each in found}


def _document(document_id: str, access: frozenset[str]) -> Document:
    return Document(document_id, "s", "u", "t", "c", "bank", "text/plain", "f", "h", access, "indexed")


@pytest.fixture
def corpus() -> Corpus:
    return Corpus()


def test_page_is_read_once_for_each_snapshot(corpus: Corpus) -> None:
    pages = RememberedPages(corpus.page, corpus.snapshot)
    assert pages.page("a", 1) == pages.page("a", 1)
    corpus.number = 2
    pages.page("a", 1)
    assert corpus.pages_read == [("a", 1)] * 2


def test_pages_used_last_stay_within_the_characters(corpus: Corpus) -> None:
    pages = RememberedPages(corpus.page, corpus.snapshot, characters=20)
    for document_id in "abacab":
        pages.page(document_id, 1)
    assert [each for each, _ in corpus.pages_read] == ["a", "b", "c", "b"]


def test_page_that_is_not_there_is_asked_for_again(corpus: Corpus) -> None:
    pages = RememberedPages(corpus.page, corpus.snapshot)
    for _ in range(2):
        with pytest.raises(NotFound):
            pages.page("nowhere", 1)


def test_new_label_counts_at_the_next_look(corpus: Corpus) -> None:
    live = LiveDocuments(corpus)
    before = [live(["a", "nowhere"])["a"].access for _ in range(3)]
    corpus.labels, corpus.number = frozenset({"board"}), 2
    assert before == [frozenset()] * 3
    assert live(["a"])["a"].access == {"board"}
    assert corpus.documents_read == ["a", "a"]
    assert set(live(["nowhere"])) == set()
