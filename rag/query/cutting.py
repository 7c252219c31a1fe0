"""Passages cut to the sentences that matter: how much an engine must read decides how many questions a card answers.

Sentences are taken by their score until the budget is spent, whole ones only, each with what gives it its sense: an
item with the words that lead into it, a table row with its header, a sentence that leans on the one before with that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rag.query.prompting import Prompt, PromptPassage, fenced, head_of, single_line
from rag.query.selecting import Candidate, Reading, leans_back, rank_sentences, read_passages
from rag.query.sentences import Span
from rag.query.similarity import Encoder

CountTokens = Callable[[str], int]

_HEADER_LINES: Final = 3  # lines above a table that are kept: the last ones name its columns
_TOO_LITTLE: Final = 8  # tokens into which no sentence fits
_SEPARATOR: Final = " > "  # between the headings of a section
_RULER: Final = frozenset("|-: ")
_PARTS: Final = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")
_LETTERS_OF_A_TOKEN: Final = 5  # of English words in vocabularies of 32,000 tokens it is more


@dataclass(frozen=True, slots=True)
class Cut:
    """A prompt within the budget. Its passage `n` (from 1) is number `kept[n - 1]` (from 0) of the uncut one."""

    prompt: Prompt
    kept: tuple[int, ...]


def estimate_tokens(text: str) -> int:
    """At least as many tokens as a 32,000-token vocabulary makes of English `text`: digits and signs count one each."""
    return sum(-(-len(part) // _LETTERS_OF_A_TOKEN) for part in _PARTS.findall(text)) + text.count("\n")


def cut(prompt: Prompt, encoder: Encoder, budget: int, count: CountTokens = estimate_tokens) -> Cut:
    """The sentences that matter most, in at most `budget` tokens of passages with their heads; at least one sentence.

    Passages keep their order, and sentences that of their page, one on a line.
    """
    readings = read_passages(prompt)
    chosen: dict[int, set[Span]] = {}
    left = budget
    for candidate in rank_sentences(prompt, readings, encoder, beyond="keep"):
        index = candidate.number - 1
        reading = readings[index]
        new = _needed(reading, candidate) - chosen.get(index, set())
        cost = sum(count(fenced(_line(reading, each))) + 1 for each in new)
        cost += 0 if index in chosen else count(head_of(candidate.number, _headed(reading.passage))) + 2
        if cost <= left or not chosen:
            chosen.setdefault(index, set()).update(new)
            left -= cost
        if left < _TOO_LITTLE:
            break
    kept = tuple(sorted(chosen))
    passages = tuple(_rewritten(readings[index], chosen[index]) for index in kept)
    return Cut(Prompt(prompt.question, passages), kept)


def _needed(reading: Reading, candidate: Candidate) -> set[Span]:
    """The candidate's span, and those without which it cannot be understood."""
    segment, spans = candidate.segment, set()
    if (
        leans_back(candidate.words)
        and candidate.position
        and reading.segments[candidate.position - 1].kind != "heading"
    ):
        before = reading.segments[candidate.position - 1]
        spans.add(Span(before.start, before.end))
    if segment.header:
        spans.update(_header_lines(reading.passage.text, segment.header))
    if segment.kind == "row":
        spans.update(_markdown_header(reading.passage.text, segment.start))
    if segment.group:
        spans.add(segment.group)
    while True:
        spans.add(Span(segment.start, segment.end))
        if segment.lead is None:
            return spans
        segment = reading.segments[segment.lead]


def _header_lines(text: str, header: Span) -> list[Span]:
    """The last lines above a table, without the ruler of a Markdown table."""
    spans, start = [], header.start
    for line in text[header.start : header.end].split("\n"):
        if set(line) - _RULER:
            spans.append(Span(start, start + len(line)))
        start += len(line) + 1
    return spans[-_HEADER_LINES:]


def _markdown_header(text: str, row: int) -> list[Span]:
    """The line above the ruler of the Markdown table in which a row begins at `row`; none for another row."""
    end = text.rfind("\n", 0, row)
    ruled = False
    while end > 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end].strip()
        if not line.startswith("|"):
            return []
        if ruled:
            return [Span(start, end)]
        ruled, end = not set(line) - _RULER, start - 1
    return []


def _rewritten(reading: Reading, spans: set[Span]) -> PromptPassage:
    lines = [_line(reading, each) for each in sorted(spans, key=lambda each: each.start)]
    return replace(_headed(reading.passage), text="\n".join(lines))


def _line(reading: Reading, span: Span) -> str:
    return single_line(reading.passage.text[span.start : span.end])


def _headed(passage: PromptPassage) -> PromptPassage:
    """The passage with the last heading of its section only."""
    return replace(passage, section=passage.section.rsplit(_SEPARATOR, 1)[-1])
