"""What a page is made of: sentences, list items with the words that lead into them, and table rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal

from rag.query.sentences import Span, sentence_spans, trimmed
from rag.query.tables import Row, names_columns, read_row

Kind = Literal["sentence", "lead_in", "item", "row", "heading"]
_LineKind = Literal["blank", "row", "heading", "footer", "item", "prose"]
_Before = Literal["finished", "goes on"]
_Place = Literal["first", "after title", "later"]

_MARKER: Final = r"(?:\((?:[ivxlc]{1,5}|[A-Za-z]|\d{1,2})\)|\d{1,2}\.(?=\s)|[•●▪◦*–-](?=\s))"
_LINE_MARKER: Final = re.compile(rf"\s*(?:{_MARKER}\s*)+")
_INLINE_MARKER: Final = re.compile(
    r"(?:(?<=[:;,.])|(?<=[:;,.]\sand)|(?<=[:;,.]\sor)|(?<=—))\s+(?=\((?:[ivxlc]{1,5}|[A-Z]|\d{1,2}|[a-z])\)\s+\S)"
)
_MARKDOWN_HEADING: Final = re.compile(r"^#{1,6}\s")
_FOOTER: Final = re.compile(
    r"^(?:(?:page\s+)?\d{1,4}(?:\s+of\s+\d+)?|.{0,80}\|\s*(?:page\s*)?\d{1,4}|table of contents)$", re.IGNORECASE
)
_TERMINAL: Final = re.compile(r"[.!?:;][\"”’')\]]*$|[;,]\s+(?:and|or)$")
_SMALL: Final = "a an and as at by for from in into not of on or per the to under upon with"
_SMALL_WORDS: Final = frozenset(_SMALL.split())
_DEFINITIONS: Final = re.compile(r"\bdefinitions?\b[^.]*:$", re.IGNORECASE)  # what follows are whole sentences
_UNIT: Final = re.compile(r"^\([^()]*(?:in |un)(?:millions|thousands|billions|audited)[^()]*\)$", re.IGNORECASE)
VERB: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|shall|must|may|will|can|cannot|do|does|did|should|would|could|means?"
    r"|includes?|applies|apply|increased|decreased|grew|declined|rose|fell)\b",
    re.IGNORECASE,
)
_RUN_IN_WORDS: Final = 9
_ITEM_TITLE: Final = 4  # words; in a list a longer first sentence is the item itself
_HEADING_WORDS: Final = 14
_HEADING_CHARACTERS: Final = 100
_GROUP_CHARACTERS: Final = 60
_FULL_LINE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Segment:
    """A quotable piece: `text[start:end]`, without list markers and white space at its ends.

    `lead` is the position, in what `segments` returns, of the segment that leads into this item or row. A row has its
    cells in `row`, the lines above the table's first row in `header`, and the line that heads its group in `group`.
    `titles` are those of the numbered paragraphs around it, outermost first: "Time limits." and "Ten-day period."
    """

    start: int
    end: int
    kind: Kind
    lead: int | None = None
    row: Row | None = None
    header: Span | None = None
    group: Span | None = None
    titles: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    kind: _LineKind


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence of a block; `place` says whether it comes right after a list marker, or after a title there."""

    span: Span
    words: str
    numbering: str
    place: _Place


@dataclass(slots=True)
class _Lead:
    """Words that lead into a list: their position, how they are numbered themselves, and how their items are."""

    position: int
    own: str
    items: str = ""
    items_stand_alone: bool = False


@lru_cache(maxsize=512)
def segments(text: str) -> tuple[Segment, ...]:
    """Everything in `text` that can be quoted, in order, and the headings between."""
    found: list[Segment] = []
    leads: list[_Lead] = []
    titles: list[tuple[str, Span]] = []
    table = _Table()
    for block in _blocks(text):
        span = trimmed(text, Span(block[0].start, block[-1].end))
        if block[0].kind == "row":
            lead = leads[-1].position if leads else None
            found.append(table.row(text, span, lead))
        elif block[0].kind == "heading":
            table.headings.append(span)
            found.append(Segment(span.start, span.end, "heading"))
        else:
            if block[0].kind == "prose":
                leads.clear()
                titles.clear()
            _read_prose(text, span, found, leads, titles)
            table = _Table(span.end)
    return tuple(found)


@dataclass(slots=True)
class _Table:
    """The head of the table that is being read: what stands above its rows, and what heads a group of them."""

    above: int = 0
    header: Span | None = None
    group: Span | None = None
    headings: list[Span] = field(default_factory=list)

    def row(self, text: str, span: Span, lead: int | None) -> Segment:
        """The row, under the header and the group that hold for it."""
        between_rows = self.header is not None
        if not between_rows or self._is_header(text):
            above = self.headings[0].start if between_rows else self.above
            self.header, self.group = trimmed(text, Span(above, span.start)), None
        elif self.headings:
            self.group = self.headings[-1]
        if self.headings and text[self.headings[-1].start : self.headings[-1].end].endswith(":"):
            self.group = self.headings[-1]
        self.headings.clear()
        row, group = read_row(text[span.start : span.end]), self.group
        if row is not None and row.label.lower().startswith("total"):
            self.group = None
        return Segment(span.start, span.end, "row", lead, row, self.header, group)

    def _is_header(self, text: str) -> bool:
        """True when the lines between two rows name columns: several lines, or one with a year in it."""
        lines = " ".join(text[each.start : each.end] for each in self.headings)
        return len(self.headings) > 2 or bool(re.search(r"\b(?:19|20)\d\d\b", lines))


def _read_prose(
    text: str, block: Span, found: list[Segment], leads: list[_Lead], titles: list[tuple[str, Span]]
) -> None:
    """Append the block's sentences and items to `found`; keep `leads` and `titles` for the blocks that follow."""
    for piece in _split_at_markers(text, block):
        marker = _LINE_MARKER.match(text, piece.start, piece.end)
        kind = _numbering(marker.group()) if marker else ""
        _leave_lists(leads, kind)
        _leave_titles(titles, kind)
        body = Span(marker.end() if marker else piece.start, piece.end)
        place: _Place = "first" if kind else "later"
        spans = sentence_spans(text, body.start, body.end)
        for span in spans:
            words = text[span.start : span.end]
            if place == "first" and span is not spans[-1] and _is_title(words, _ITEM_TITLE if leads else _RUN_IN_WORDS):
                found.append(Segment(span.start, span.end, "heading"))
                titles.append((kind, span))
                place = "after title"
                continue
            segment = _prose_segment(_Sentence(span, words, kind, place), leads, len(found))
            if segment.kind == "heading":
                titles.append((kind, span))
            found.append(replace(segment, titles=tuple(title for _, title in titles)))
            place = "later"


def _prose_segment(sentence: _Sentence, leads: list[_Lead], position: int) -> Segment:
    """The segment that will stand at `position`."""
    start, end, words = sentence.span.start, sentence.span.end, sentence.words
    first = sentence.place != "later"
    lead = leads[-1].position if leads and first else None
    if words.endswith(":") or (words.endswith("—") and VERB.search(words)):
        leads.append(_Lead(position, sentence.numbering, items_stand_alone=_DEFINITIONS.search(words) is not None))
        return Segment(start, end, "lead_in", lead)
    if lead is not None and not (leads[-1].items_stand_alone and VERB.search(words)):
        return Segment(start, end, "item", lead)
    # Without a verb it is a title, or an item whose lead-in is not in sight.
    stub = words.endswith("—") or (first and not VERB.search(words))
    return Segment(start, end, "heading" if stub else "sentence")


def _leave_lists(leads: list[_Lead], kind: str) -> None:
    """Drop the leads whose lists are over when something numbered in this way comes."""
    while leads and kind and (leads[-1].own == kind or leads[-1].items not in ("", kind)):
        leads.pop()
    if leads and kind:
        leads[-1].items = kind


def _leave_titles(titles: list[tuple[str, Span]], kind: str) -> None:
    """Drop the titles of paragraphs that end where something numbered in this way begins."""
    levels = [level for level, _ in titles]
    if kind in levels:
        del titles[levels.index(kind) :]


def _numbering(marker: str) -> str:
    """How a list is numbered: the kind of the innermost marker in "- (ii)"."""
    last = marker.rsplit(maxsplit=1)[-1].strip("().")
    if last.isdigit():
        return "digits"
    if not last.isalpha():
        return "bullets"
    if last.isupper():
        return "capitals"
    return "roman" if set(last) <= set("ivx") or (len(last) > 1 and set(last) <= set("ivxlc")) else "letters"


def _is_title(sentence: str, longest: int) -> bool:
    """True for what may open a numbered paragraph as its title: "When notice is given." is one, despite its verb."""
    if re.search(r"\d", sentence) or not sentence.endswith("."):
        return False
    return len(sentence.split()) <= longest or is_run_in_heading(sentence)


def is_run_in_heading(sentence: str) -> bool:
    """True for "Ten-day period." and its like: a title that ends in a full stop and opens a paragraph."""
    return sentence.endswith(".") and len(sentence.split()) <= _RUN_IN_WORDS and not VERB.search(sentence)


def _split_at_markers(text: str, block: Span) -> Iterator[Span]:
    begin = block.start
    for match in _INLINE_MARKER.finditer(text, block.start, block.end):
        yield Span(begin, match.end())
        begin = match.end()
    yield Span(begin, block.end)


def _blocks(text: str) -> Iterator[list[_Line]]:
    """Lines that belong together: a paragraph, a list item, a heading or one table row."""
    lines = _lines(text)
    widest = max((line.end - line.start for line in lines), default=0)
    block: list[_Line] = []
    for line in lines:
        if block and not (line.kind == "prose" and _continues(text, block, line, widest)):
            yield block
            block = []
        if line.kind in ("prose", "item", "row", "heading"):
            block.append(line)
    if block:
        yield block


def _continues(text: str, block: list[_Line], line: _Line, widest: int) -> bool:
    last = block[-1]
    if last.kind not in ("prose", "item") or line.start - last.end > 1:
        return False
    full = last.end - last.start >= _FULL_LINE * widest
    ended = _TERMINAL.search(text[last.start : last.end].rstrip()) is not None
    return full or not ended


def _lines(text: str) -> list[_Line]:
    bounds, position = [], 0
    for raw in text.split("\n"):
        bounds.append((position, position + len(raw)))
        position += len(raw) + 1
    lines: list[_Line] = []
    for index, (start, end) in enumerate(bounds):
        following = text[slice(*bounds[index + 1])].strip() if index + 1 < len(bounds) else ""
        lines.append(_Line(start, end, _kind(text[start:end].strip(), following, _before(text, lines))))
    return lines


def _before(text: str, lines: list[_Line]) -> _Before:
    """Whether the line before is prose that goes on; then the next is no heading, and no row of one or two cells."""
    if not lines or lines[-1].kind not in ("prose", "item"):
        return "finished"
    line = text[lines[-1].start : lines[-1].end].rstrip()
    return "goes on" if len(line) > _HEADING_CHARACTERS * 0.7 and not _TERMINAL.search(line) else "finished"


def _kind(line: str, following: str, before: _Before) -> _LineKind:
    if not line:
        return "blank"
    if _FOOTER.match(line) or (line.startswith("|") and set(line) <= set("|-: ")):
        return "footer"
    row = read_row(line)
    if row is not None and (before == "finished" or len(row.cells) > 2):
        return "row"
    heads_rows = line.endswith(":") and len(line) <= _GROUP_CHARACTERS and read_row(following) is not None
    marked = any(pattern.match(line) for pattern in (_MARKDOWN_HEADING, _UNIT)) or names_columns(line)
    if heads_rows or marked or (before == "finished" and _is_heading(line, following)):
        return "heading"
    return "item" if re.match(_MARKER + r"\s*\S", line) else "prose"


def _is_heading(line: str, following: str) -> bool:
    words = line.split()
    if len(line) > _HEADING_CHARACTERS or len(words) > _HEADING_WORDS or _TERMINAL.search(line):
        return False
    if (following[:1].islower() and not following.startswith(line)) or re.match(_MARKER + r"\s*[a-z]", line):
        return False
    if line.startswith("§"):
        return True
    letters = [word for word in words if re.match(r"[A-Za-z]", word) and word.lower() not in _SMALL_WORDS]
    titled = sum(1 for word in letters if word[0].isupper())
    return not letters or titled >= 0.6 * len(letters) or (len(words) <= 6 and line[0].isupper())
