"""Whether a statement says what its citations carry, and the exact words that carry it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rag.query.evidence import Evidence
from rag.query.number_grounding import trace
from rag.query.numbers import numbers as numbers_in
from rag.query.prompting import unescape_markers
from rag.query.segments import segments
from rag.query.sentences import Span
from rag.query.statements import MARKER, Statement
from rag.query.words import stems

Mode = Literal["verbatim", "overlap"]

ELISION: Final = " … "  # between two verbatim pieces of one quotation
MARKER_GROUP: Final = re.compile(r"(?:\s?(?<!\\)\[\d{1,3}\])+")
_LABEL: Final = re.compile(r"^\*\*(.+?):\*\*\s+")
_SUPPORT: Final = 0.6  # share of a statement's content words that its cited sentences must hold
_CONTRIBUTES: Final = 0.2  # a cited sentence that holds less of the statement is not quoted


@dataclass(frozen=True, slots=True)
class Quote:
    """Characters `start` to `end` of the evidence with this number, counted from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`quotes` holds what each group of markers in the statement cites. `unknown` counts markers of nothing."""

    supported: bool
    reason: str
    quotes: tuple[tuple[Quote, ...], ...]
    unknown: int


def judge(statement: Statement, evidence: Sequence[Evidence], mode: Mode) -> Verdict:
    """The verdict on one statement.

    `verbatim`: the words must stand in the cited passage as they are, white space aside. `overlap`: at least 60 % of
    its content words must stand in cited sentences, and every number must trace to them (`number_grounding`).
    """
    known = [number for number in statement.markers if 1 <= number <= len(evidence)]
    unknown = len(statement.markers) - len(known)
    if not known:
        return Verdict(False, "it cites none of the passages", (), unknown)
    if statement.is_table and not _header_stands(statement, known, evidence):
        return Verdict(False, "the cited passage does not hold the table's header", (), unknown)
    groups: list[tuple[Quote, ...]] = []
    for text, numbers in _claims(statement):
        cited = [number for number in numbers if number in known]
        quotes = find_verbatim(text, cited, evidence)
        if not quotes and mode == "overlap":
            quotes, reason = _find_overlap(text, cited, evidence)
            if reason:
                return Verdict(False, reason, (), unknown)
        if not quotes:
            return Verdict(False, "the cited passage does not hold these words", (), unknown)
        groups.append(tuple(quotes))
    return Verdict(True, "", _per_marker_group(statement, groups), unknown)


def find_verbatim(text: str, numbers: Sequence[int], evidence: Sequence[Evidence]) -> list[Quote]:
    """Where all pieces of `text` stand in one of these passages, or nothing."""
    for number in numbers:
        source = evidence[number - 1]
        if text.startswith("|"):
            spans = [locate_row(text.strip("|").split("|"), source.text)]
        else:
            spans = [locate(piece, source.text) for piece in _without_label(text, source).split(ELISION)]
        if spans and all(spans):
            return [Quote(number, span.start, span.end) for span in spans if span]
    return []


def locate(words: str, text: str) -> Span | None:
    """Where `words` stand in `text` when every run of white space counts as one blank; None when they do not."""
    pieces = words.split()
    if not pieces:
        return None
    match = re.search(r"\s+".join(map(re.escape, pieces)), text)
    return Span(*match.span()) if match else None


def locate_row(cells: Sequence[str], text: str) -> Span | None:
    """The line of `text` in which these cells stand in this order with nothing but bars and blanks between."""
    parts = [r"\s+".join(map(re.escape, cell.split())) for cell in cells if cell.strip()]
    match = re.search(r"[\s|]+".join(parts), text) if parts else None
    return Span(*match.span()) if match else None


def _claims(statement: Statement) -> list[tuple[str, tuple[int, ...]]]:
    """What is claimed, with the markers of each claim: a row of a table, or the whole statement."""
    if not statement.is_table:
        return [(unescape_markers(MARKER_GROUP.sub("", statement.text)).strip(), statement.markers)]
    rows = statement.text.split("\n")[2:]
    return [
        (unescape_markers(MARKER_GROUP.sub("", row)).strip(), tuple(int(number) for number in MARKER.findall(row)))
        for row in rows
    ]


def _without_label(text: str, source: Evidence) -> str:
    """`**Title:** words` without its label, when the label is the title or the section of what is cited."""
    match = _LABEL.match(text)
    passage = source.for_prompt()
    return text[match.end() :] if match and match[1] in (passage.title, passage.section) else text


def _header_stands(statement: Statement, numbers: Sequence[int], evidence: Sequence[Evidence]) -> bool:
    words = set(statement.text.split("\n", 1)[0].replace("|", " ").split())
    return any(words <= set(evidence[number - 1].text.replace("|", " ").split()) for number in numbers)


def _per_marker_group(statement: Statement, claims: Sequence[tuple[Quote, ...]]) -> tuple[tuple[Quote, ...], ...]:
    if statement.is_table:
        return tuple(claims)
    groups = []
    for group in MARKER_GROUP.findall(statement.text):
        cited = {int(number) for number in MARKER.findall(group)}
        groups.append(tuple(quote for quote in claims[0] if quote.number in cited))
    return tuple(groups)


def _find_overlap(text: str, numbers: Sequence[int], evidence: Sequence[Evidence]) -> tuple[list[Quote], str]:
    """The cited sentences that together say it, or why they do not."""
    wanted = _content(text)
    missing = set(wanted)
    quotes: list[Quote] = []
    for quote, held in _by_overlap(wanted, numbers, evidence):
        if missing & held and len(wanted & held) >= _CONTRIBUTES * len(wanted):
            quotes.append(quote)
            missing -= held
    if not wanted or len(missing) > (1 - _SUPPORT) * len(wanted):
        return [], "the cited passage does not say this"
    untraced, carriers = trace(text, [evidence[number - 1].text for number in numbers])
    if untraced:
        return [], f"the number {untraced[0].written} {untraced[0].reason}"
    for carrier in carriers:
        quote = _around(numbers[carrier.source], carrier.start, evidence)
        if quote not in quotes:
            quotes.append(quote)
    return quotes, ""


def _content(text: str) -> set[str]:
    """The stems of what a statement says besides its numbers, which are traced; of a bare number, the number."""
    spans = numbers_in(text)
    words = text
    for each in reversed(spans):
        words = words[: each.start] + " " + words[each.end :]
    return set(stems(words)) or set(stems(text))


def _around(number: int, position: int, evidence: Sequence[Evidence]) -> Quote:
    """The sentence or row of this evidence that holds the character at `position`."""
    text = evidence[number - 1].text
    for each in segments(text):
        if each.start <= position < each.end:
            return Quote(number, each.start, each.end)
    end = text.find("\n", position)
    return Quote(number, text.rfind("\n", 0, position) + 1, end if end >= 0 else len(text))


def _by_overlap(wanted: set[str], numbers: Sequence[int], evidence: Sequence[Evidence]) -> list[tuple[Quote, set[str]]]:
    """Every sentence and row, the most shared words first; a row is read with its header and the head of its group."""
    found = []
    for number in numbers:
        text = evidence[number - 1].text
        for each in segments(text):
            if each.kind != "heading":
                heads = [text[span.start : span.end] for span in (each.header, each.group) if span]
                held = set(stems(" ".join([text[each.start : each.end], *heads])))
                found.append((Quote(number, each.start, each.end), held))
    return sorted(found, key=lambda pair: -len(wanted & pair[1]))
