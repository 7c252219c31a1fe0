"""Whether a statement says what its citations carry, and the exact words that carry it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rag.query.evidence import Evidence
from rag.query.number_grounding import Arithmetic, trace
from rag.query.prompting import unescape_markers
from rag.query.segments import segments
from rag.query.sentences import Span
from rag.query.similarity import Encoder
from rag.query.statements import MARKER, Statement
from rag.query.support import SupportModel, content_stems, measure_support
from rag.query.words import stems

Mode = Literal["verbatim", "overlap"]

ELISION: Final = " … "  # between two verbatim pieces of one quotation
MARKER_GROUP: Final = re.compile(r"(?:\s?(?<!\\)\[\d{1,3}\])+")
_LABEL: Final = re.compile(r"^\*\*(.+?):\*\*\s+")
_NAMES: Final = 0.5  # share of a statement's names that its citations or their titles must hold
_CONTRIBUTES: Final = 0.2  # a cited sentence that holds less of the statement is not quoted


@dataclass(frozen=True, slots=True)
class Quote:
    """Characters `start` to `end` of the evidence with this number, counted from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SupportCheck:
    """What a paraphrase is checked with: sentence vectors, the fitted model, and which calculations count."""

    encoder: Encoder
    model: SupportModel
    arithmetic: Arithmetic = "shown"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sentence or row that may be quoted, the words with which it is read, and their stems."""

    quote: Quote
    words: str
    held: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`quotes` holds what each group of markers in the statement cites. `unknown` counts markers of nothing."""

    supported: bool
    reason: str
    quotes: tuple[tuple[Quote, ...], ...]
    unknown: int


def judge(statement: Statement, evidence: Sequence[Evidence], mode: Mode, check: SupportCheck | None = None) -> Verdict:
    """The verdict on one statement; `overlap` needs a check.

    `verbatim`: the words must stand in the cited passage as they are, white space aside. `overlap`: words,
    vectors and names must speak for it (`support`), and every number must trace to what is cited (`number_grounding`).
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
        if not quotes and mode == "overlap" and check:
            quotes, reason = _find_overlap(text, cited, evidence, check)
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


def _find_overlap(
    text: str, numbers: Sequence[int], evidence: Sequence[Evidence], check: SupportCheck
) -> tuple[list[Quote], str]:
    """The cited sentences that together say it, or why they do not."""
    cited = [evidence[number - 1] for number in numbers]
    titles = [f"{each.passage.title}. {each.passage.section}" for each in cited]
    sources = [f"{each.text}\n\n{title}" for each, title in zip(cited, titles, strict=True)]
    missing, carriers = trace(text, sources, arithmetic=check.arithmetic)
    if missing:
        return [], f"the number {missing[0].written} {missing[0].reason}"
    candidates = _candidates(numbers, evidence)
    signals = measure_support(text, [*(each.words for each in candidates), *titles], check.encoder)
    quotes = _contributing(set(content_stems(text)), candidates)
    if not quotes or check.model.probability(signals) < check.model.threshold:
        return [], "the cited passage does not say this"
    if signals.names < _NAMES:
        return [], "the cited passage does not name what it names"
    for carrier in carriers:
        quote = _around(numbers[carrier.source], carrier.start, candidates)
        quotes += [quote] if quote and quote not in quotes else []
    return quotes, ""


def _contributing(wanted: set[str], candidates: Sequence[_Candidate]) -> list[Quote]:
    """The sentences that each add something to what is said, those with the most shared words first."""
    missing, quotes = set(wanted), []
    for each in sorted(candidates, key=lambda candidate: -len(wanted & candidate.held)):
        if missing & each.held and len(wanted & each.held) >= _CONTRIBUTES * len(wanted):
            quotes.append(each.quote)
            missing -= each.held
    return quotes


def _around(number: int, position: int, candidates: Sequence[_Candidate]) -> Quote | None:
    """The sentence or row that holds the character at `position`; None in a heading or a title."""
    quotes = (each.quote for each in candidates)
    return next((each for each in quotes if each.number == number and each.start <= position < each.end), None)


def _candidates(numbers: Sequence[int], evidence: Sequence[Evidence]) -> list[_Candidate]:
    """Every sentence and row; a row is read with its header and the head of its group."""
    found = []
    for number in numbers:
        text = evidence[number - 1].text
        for each in segments(text):
            if each.kind != "heading":
                heads = [text[span.start : span.end] for span in (each.header, each.group) if span]
                words = " ".join([*heads, text[each.start : each.end]])
                found.append(_Candidate(Quote(number, each.start, each.end), words, frozenset(stems(words))))
    return found
