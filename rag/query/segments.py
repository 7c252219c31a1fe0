"""What a page is made of: sentences, list items with the words that lead into them, and table rows, all with offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rag.query.sentences import Span, sentence_spans, trimmed
from rag.query.tables import Row, read_row

Kind = Literal["sentence", "lead_in", "item", "row", "heading"]
_LineKind = Literal["blank", "row", "ruler", "heading", "footer", "item", "prose"]

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
_SMALL_WORDS: Final = frozenset("a an and as at by for from in into not of on or per the to under upon with".split())
_UNIT: Final = re.compile(r"^\([^()]*(?:in |un)(?:millions|thousands|billions|audited)[^()]*\)$", re.IGNORECASE)
_VERB: Final = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|shall|must|may|will|can|cannot|do|does|did|should|would|could|means?"
    r"|includes?|applies|apply|increased|decreased|grew|declined|rose|fell)\b",
    re.IGNORECASE,
)
_RUN_IN_WORDS: Final = 9
_HEADING_WORDS: Final = 14
_HEADING_CHARACTERS: Final = 100
_FULL_LINE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Segment:
    """A quotable piece: `text[start:end]`, without list markers and white space at its ends.

    `lead` is the position, in the list that `segments` returns, of the segment that leads into this item or row.
    `header` spans the lines above a table's first row.
    """

    start: int
    end: int
    kind: Kind
    lead: int | None = None
    row: Row | None = None
    header: Span | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    kind: _LineKind


def segments(text: str) -> list[Segment]:
    """Everything in `text` that can be quoted, in order, and the headings between."""
    found: list[Segment] = []
    lead: int | None = None
    above = 0  # where the lines above a table's first row begin
    header: Span | None = None
    for block in _blocks(text):
        span = Span(block[0].start, block[-1].end)
        if block[0].kind == "row":
            header = header or trimmed(text, Span(above, span.start))
            found.append(_row(text, span, lead, header))
            continue
        if block[0].kind == "heading":
            found.append(_segment(text, span, "heading"))
            above, header = (span.start, None) if header else (above, None)
            continue
        lead = _read_prose(text, span, found, lead if block[0].kind == "item" else None)
        above, header = span.end, None
    return found


def _segment(text: str, span: Span, kind: Kind) -> Segment:
    span = trimmed(text, span)
    return Segment(span.start, span.end, kind)


def _row(text: str, span: Span, lead: int | None, header: Span) -> Segment:
    span = trimmed(text, span)
    return Segment(span.start, span.end, "row", lead, read_row(text[span.start : span.end]), header)


def _read_prose(text: str, block: Span, found: list[Segment], lead: int | None) -> int | None:
    """Append the block's sentences and items to `found`; what leads into the next block's items, or None."""
    for piece in _split_at_markers(text, block):
        spans = [_without_marker(text, span) for span in sentence_spans(text, piece.start, piece.end)]
        for position, span in enumerate(each for each in spans if each.start < each.end):
            sentence = text[span.start : span.end]
            if position == 0 and is_run_in_heading(sentence):
                lead = None  # "(2) Written confirmation." opens the next paragraph, so the list above is over
            if sentence.endswith((":", "—")):
                found.append(Segment(span.start, span.end, "lead_in", lead))
                lead = len(found) - 1
            elif lead is not None and position == 0:
                found.append(Segment(span.start, span.end, "item", lead))
            else:
                found.append(Segment(span.start, span.end, "sentence"))
    return lead


def is_run_in_heading(sentence: str) -> bool:
    """True for "Ten-day period." and its like: a title that ends in a full stop and opens a paragraph."""
    return sentence.endswith(".") and len(sentence.split()) <= _RUN_IN_WORDS and not _VERB.search(sentence)


def _split_at_markers(text: str, block: Span) -> Iterator[Span]:
    begin = block.start
    for match in _INLINE_MARKER.finditer(text, block.start, block.end):
        yield Span(begin, match.end())
        begin = match.end()
    yield Span(begin, block.end)


def _without_marker(text: str, span: Span) -> Span:
    match = _LINE_MARKER.match(text, span.start, span.end)
    return trimmed(text, Span(match.end(), span.end)) if match else span


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
        lines.append(_Line(start, end, _kind(text[start:end].strip(), following, _unfinished(text, lines))))
    return lines


def _unfinished(text: str, lines: list[_Line]) -> bool:
    """True when the line before is prose that goes on, so that the next line is no heading and no row of one cell."""
    if not lines or lines[-1].kind not in ("prose", "item"):
        return False
    before = text[lines[-1].start : lines[-1].end].rstrip()
    return len(before) > _HEADING_CHARACTERS * 0.7 and not _TERMINAL.search(before)


def _kind(line: str, following: str, unfinished: bool) -> _LineKind:
    if not line:
        return "blank"
    if _FOOTER.match(line):
        return "footer"
    if line.startswith("|") and set(line) <= set("|-: "):
        return "ruler"
    row = read_row(line)
    if row is not None and (not unfinished or len(row.cells) > 2):
        return "row"
    if _MARKDOWN_HEADING.match(line) or _UNIT.match(line) or (not unfinished and _is_heading(line, following)):
        return "heading"
    return "item" if re.match(_MARKER + r"\s*\S", line) else "prose"


def _is_heading(line: str, following: str) -> bool:
    words = line.split()
    if len(line) > _HEADING_CHARACTERS or len(words) > _HEADING_WORDS or _TERMINAL.search(line):
        return False
    if following[:1].islower() or re.match(_MARKER + r"\s*[a-z]", line):
        return False
    letters = [word for word in words if re.match(r"[A-Za-z]", word) and word.lower() not in _SMALL_WORDS]
    titled = sum(1 for word in letters if word[0].isupper())
    return not letters or titled >= 0.6 * len(letters) or (len(words) <= 6 and line[0].isupper())
