"""Retrieved chunks, made readable: neighbours joined, cut sentences completed, tables and lists given their heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rag.domain import DocumentPage, Passage
from rag.query.prompting import PromptPassage, single_line
from rag.query.segments import segments
from rag.query.sentences import Span

ReadPage = Callable[[str, int], DocumentPage]

_LOOK_BACK: Final = 1500  # characters before a chunk that are worth adding for the head of its table or list
_WHOLE_PAGE: Final = 20_000  # characters; of a longer page only what surrounds the chunk is read
_LOOK_AHEAD: Final = 600
_MANY_CHUNKS: Final = 3  # chunks of one page from which on the page as a whole is about the question
_SHORT_PAGE: Final = 12_000  # characters
_SUPPORT: Final = 0.15  # share of their scores that further chunks of a stretch add
_JOIN_WITHIN: Final = 40  # characters between two passages that are still one


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of one page, given to the engine under a number. `text == page.text[start:end]`.

    `passage` is the best of the chunks in it, and `support` grows with their scores and their number.
    """

    passage: Passage
    page: DocumentPage
    start: int
    end: int
    support: float

    @property
    def text(self) -> str:
        """The words on the page, verbatim."""
        return self.page.text[self.start : self.end]

    def for_prompt(self) -> PromptPassage:
        """What an engine sees of it."""
        source = self.passage
        label = source.page_label or str(source.page)
        return PromptPassage(single_line(source.title), single_line(source.section), single_line(label), self.text)


def gather(passages: Sequence[Passage], read_page: ReadPage) -> list[Evidence]:
    """The evidence in `passages`, best first. A passage whose page is not what was indexed any more is left out."""
    pages: dict[tuple[str, int], DocumentPage] = {}
    found: dict[tuple[str, int], list[Passage]] = {}
    for passage in passages:
        key = (passage.document_id, passage.page)
        page = pages[key] if key in pages else pages.setdefault(key, read_page(*key))
        if page.text[passage.start : passage.end] == passage.text:  # else it changed between the search and now
            found.setdefault(key, []).append(passage)
    joined = [each for key, chunks in found.items() for each in _on_page(pages[key], chunks)]
    return sorted(joined, key=lambda each: -each.support)


def _on_page(page: DocumentPage, chunks: Sequence[Passage]) -> list[Evidence]:
    """The evidence on one page: the whole page when much of it was found, else the stretches around the chunks."""
    if len(chunks) >= _MANY_CHUNKS and len(page.text) <= _SHORT_PAGE:
        return [_evidence(page, Span(0, len(page.text)), chunks)]
    stretches: list[tuple[Span, list[Passage]]] = []
    for chunk in sorted(chunks, key=lambda each: each.start):
        span = _completed(page.text, chunk)
        if stretches and span.start <= stretches[-1][0].end + _JOIN_WITHIN:
            before, members = stretches[-1]
            stretches[-1] = (Span(min(before.start, span.start), max(before.end, span.end)), [*members, chunk])
        else:
            stretches.append((span, [chunk]))
    return [_evidence(page, span, members) for span, members in stretches]


def _evidence(page: DocumentPage, span: Span, chunks: Sequence[Passage]) -> Evidence:
    best = max(chunks, key=lambda each: each.score)
    support = best.score + _SUPPORT * sum(each.score for each in chunks if each is not best)
    return Evidence(best, page, span.start, span.end, support)


def _completed(text: str, passage: Passage) -> Span:
    """The span of all sentences, items and rows that the passage touches, with what leads into them."""
    begin, end = 0, len(text)
    if len(text) > _WHOLE_PAGE:
        begin = text.rfind("\n", 0, max(0, passage.start - _LOOK_BACK)) + 1
        end = max(text.find("\n", passage.end + _LOOK_AHEAD), passage.end)
    found = segments(text[begin:end])
    spans = [Span(passage.start, passage.end)]
    for each in found:
        if each.start < passage.end - begin and each.end > passage.start - begin:
            heads = [found[each.lead].start] if each.lead is not None else []
            heads += [each.header.start] if each.header else []
            near = [start for start in heads if passage.start - begin - start <= _LOOK_BACK]
            spans.append(Span(begin + min(each.start, *near, each.start), begin + each.end))
    return Span(min(each.start for each in spans), max(each.end for each in spans))
