"""From blocks of text to pages: for formats that have headings instead of pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from connectors.parsing.document import PageDraft
from connectors.parsing.text import clean

# Characters. A page is what a reader is shown around a quote: longer sections are cut between paragraphs.
PAGE_CHARACTERS = 3_000
SECTION_CHARACTERS = 12_000
PAGE_HEADING_LEVEL = 2
HEADING_CHARACTERS = 300  # what is longer and styled as a heading is a paragraph


@dataclass(frozen=True, slots=True)
class Block:
    """A heading (level 1-6), or a paragraph, list item or table row (level 0). `gap` parts it from what is before."""

    text: str
    level: int = 0
    gap: str = "\n\n"


@dataclass(slots=True)
class _OpenPage:
    """A page that still takes blocks. `has_body` tells that more than headings stands on it."""

    label: str = ""
    parts: list[str] = field(default_factory=list)
    length: int = 0
    headings: list[tuple[int, int, str]] = field(default_factory=list)
    has_body: bool = False

    def add(self, block: Block) -> None:
        gap = block.gap if self.parts else ""
        if block.level:
            self.headings.append((self.length + len(gap), block.level, block.text))
            if block.level <= PAGE_HEADING_LEVEL:
                self.label = block.text
        else:
            self.has_body = True
        self.parts.append(gap + block.text)
        self.length += len(gap) + len(block.text)

    def close(self) -> PageDraft:
        return PageDraft("".join(self.parts), self.label, tuple(self.headings))


def pages_from_blocks(blocks: Iterable[Block], longest: int = SECTION_CHARACTERS) -> list[PageDraft]:
    """One page per section under a heading of level 1 or 2; the label is that heading, which stays in the text.

    Headings that follow each other directly share a page, whose label is the last one of level 1 or 2. A section of
    more than `longest` characters continues on further pages with the same label.
    """
    pages: list[PageDraft] = []
    page = _OpenPage()
    for block in _cut_long(blocks, longest):
        opens_section = 0 < block.level <= PAGE_HEADING_LEVEL
        overflows = page.length + len(block.text) > longest
        if page.parts and ((opens_section and page.has_body) or overflows):
            pages.append(page.close())
            page = _OpenPage(label="" if opens_section else page.label)
        page.add(block)
    if page.parts:
        pages.append(page.close())
    return pages


def paragraphs(text: str) -> Iterator[Block]:
    """Plain text as blocks, cut at empty lines."""
    for paragraph in clean(text).split("\n\n"):
        yield Block(paragraph)


def _cut_long(blocks: Iterable[Block], longest: int) -> Iterator[Block]:
    """Cleaned blocks without the empty ones; one that is longer than a page is cut at a newline or a space."""
    for block in blocks:
        text, level = clean(block.text), block.level
        if level and len(text) > HEADING_CHARACTERS:
            level = 0
        if level:
            text = " ".join(text.split())
        if len(text) > longest:
            yield from _pieces(text, longest, block.gap)
        elif text:
            yield Block(text, level, block.gap)


def _pieces(text: str, longest: int, gap: str) -> Iterator[Block]:
    """A long text in blocks of at most `longest` characters. It is never copied whole, which would cost its square."""
    start = 0
    while start < len(text):
        end = len(text) if len(text) - start <= longest else _last_break(text, start, start + longest)
        if piece := text[start:end].strip():
            yield Block(piece, 0, gap)
            gap = "\n"
        start = end


def _last_break(text: str, start: int, end: int) -> int:
    """Where to cut `text[start:end]`: after the last newline, sentence or word, in this order, of its second half."""
    for separator in ("\n", ". ", " "):
        position = text.rfind(separator, (start + end) // 2, end)
        if position > 0:
            return position + len(separator)
    return end
