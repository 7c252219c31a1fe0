"""What a parser makes of a file, and the limits it works under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.base import Concealed, Page

# Part of every fingerprint: a new number makes every document be read again. Raise it when parsers find other things.
PARSER_VERSION = "2"


@dataclass(frozen=True, slots=True)
class ParsingLimits:
    """What one document may cost.

    `timeout_seconds` is wall clock, `memory_mib` the address space that the document may add to the parsing process.
    `max_characters` bounds the text; archives may unpack to ten times as many bytes.
    """

    timeout_seconds: float
    memory_mib: int
    max_bytes: int
    max_pages: int
    max_characters: int


@dataclass(frozen=True, slots=True)
class PageDraft:
    """A page before it has a number: cleaned text, label, and `(offset, level, heading)` in reading order."""

    text: str
    label: str = ""
    headings: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a parser returns: a title, or "" where the file says none worth showing, and at least one page."""

    title: str
    pages: list[PageDraft]
    concealed: list[Concealed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A parsed file. The texts of `pages`, joined by one newline, are the document; `Page.start` is an offset in it."""

    title: str
    media_type: str
    pages: tuple[Page, ...]
    concealed: tuple[Concealed, ...] = ()


def number_pages(drafts: Sequence[PageDraft]) -> tuple[Page, ...]:
    """Pages with their 1-based numbers and their offsets in the whole document."""
    pages: list[Page] = []
    start = 0
    for number, draft in enumerate(drafts, start=1):
        pages.append(Page(number, draft.text, start, draft.label, draft.headings))
        start += len(draft.text) + 1
    return tuple(pages)
