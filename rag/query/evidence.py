"""Retrieved chunks, made readable: neighbours joined, cut sentences completed, tables and lists given their heads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rag.domain import DocumentPage, Passage
from rag.query.prompting import PromptPassage, single_line
from rag.query.segments import Segment, segments
from rag.query.sentences import Span

ReadPage = Callable[[str, int], DocumentPage]

_LOOK_BACK: Final = 1500  # characters of the page looked at before a chunk, for the head of its table or list
_LOOK_AHEAD: Final = 600
_JOIN_WITHIN: Final = 40  # characters between two passages that are still one


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of one page, given to the engine under a number. `text == page.text[start:end]`; best rank is 0."""

    passage: Passage
    page: DocumentPage
    start: int
    end: int
    rank: int

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
    joined: list[Evidence] = []
    pages: dict[tuple[str, int], DocumentPage] = {}
    for rank, passage in enumerate(passages):
        key = (passage.document_id, passage.page)
        page = pages[key] if key in pages else pages.setdefault(key, read_page(*key))
        if page.text[passage.start : passage.end] != passage.text:
            continue  # deleted or changed between the search and now
        span = _completed(page.text, passage)
        _join(joined, Evidence(passage, page, span.start, span.end, rank))
    return joined


def _join(joined: list[Evidence], new: Evidence) -> None:
    for index, known in enumerate(joined):
        same_page = (known.page.document_id, known.page.number) == (new.page.document_id, new.page.number)
        if same_page and new.start <= known.end + _JOIN_WITHIN and known.start <= new.end + _JOIN_WITHIN:
            joined[index] = replace(known, start=min(known.start, new.start), end=max(known.end, new.end))
            return
    joined.append(new)


def _completed(text: str, passage: Passage) -> Span:
    """The span of all sentences, items and rows that the passage touches, with what leads into them."""
    begin = text.rfind("\n", 0, max(0, passage.start - _LOOK_BACK)) + 1
    end = text.find("\n", min(len(text), passage.end + _LOOK_AHEAD))
    window = text[begin : end if end >= 0 else len(text)]
    found = segments(window)
    touched = [each for each in found if each.start < passage.end - begin and each.end > passage.start - begin]
    if not touched:
        return Span(passage.start, passage.end)
    starts = [each.start for each in _with_heads(touched, found)]
    starts += [each.header.start for each in touched if each.header]
    return Span(
        min(passage.start, begin + min(starts)),
        max(passage.end, min(begin + max(each.end for each in touched), len(text))),
    )


def _with_heads(touched: Iterable[Segment], found: Sequence[Segment]) -> Iterable[Segment]:
    for each in touched:
        yield each
        if each.lead is not None:
            yield found[each.lead]
