"""Chosen quotations, put into words: a lead sentence, then what supports it, tables as tables and lists as lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rag.query.prompting import escape_markers, single_line
from rag.query.segments import Segment
from rag.query.selecting import Candidate, Reading
from rag.query.tables import column_names, markdown_header

_LIST_ENDING: Final = re.compile(r"\s*[;,](?:\s+(?:and|or))?$")


@dataclass(frozen=True, slots=True)
class Part:
    """Candidates that are worded together: one sentence, the items of one list, or the rows of one table."""

    number: int
    lead: int | None
    members: tuple[Candidate, ...]

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands: passage, offset."""
        return self.number, self.members[0].segment.start


def parts(chosen: Sequence[Candidate]) -> list[Part]:
    """The chosen candidates, grouped under the words that lead into them, in the order of their first member."""
    grouped: dict[tuple[int, int | None, int], list[Candidate]] = {}
    for each in chosen:
        alone = each.segment.kind == "sentence"
        table = each.segment.header.start if each.segment.header else -1
        lead = each.segment.lead
        key = (each.number, lead, -2 - each.position if alone else table)
        grouped.setdefault(key, []).append(each)
    return [
        Part(number, lead, tuple(sorted(members, key=lambda each: each.position)))
        for (number, lead, _), members in grouped.items()
    ]


def word_answer(ordered: Sequence[Part], readings: Sequence[Reading]) -> Iterator[str]:
    """The answer, piece by piece; each piece ends with its marker and the pieces make up the whole text."""
    titles = {readings[part.number - 1].passage.title for part in ordered}
    for index, part in enumerate(ordered):
        reading = readings[part.number - 1]
        label = f"**{reading.passage.title}:** " if len(titles) > 1 and reading.passage.title else ""
        bullet = "- " if index and len(ordered) > 2 else ""
        gap = "" if index == 0 else "\n" if bullet and index > 1 else "\n\n"
        yield from _word_part(part, reading, gap, bullet, label)


def _word_part(part: Part, reading: Reading, gap: str, bullet: str, label: str) -> Iterator[str]:
    lead = reading.segments[part.lead] if part.lead is not None else None
    first = part.members[0].segment
    if first.kind == "row":
        yield from _word_table(part, reading, lead, gap, label)
    elif lead is not None:
        yield f"{gap}{bullet}{label}{_quoted(reading, lead)} [{part.number}]"
        indent = "\n  - " if bullet else "\n- "
        for member in part.members:
            yield f"{indent}{_item(reading, member.segment)} [{part.number}]"
    else:
        yield f"{gap}{bullet}{label}{_quoted(reading, first)} [{part.number}]"


def _word_table(part: Part, reading: Reading, lead: Segment | None, gap: str, label: str) -> Iterator[str]:
    if lead is not None:
        yield f"{gap}{label}{_quoted(reading, lead)} [{part.number}]"
        gap, label = "\n\n", ""
    rows = [member.segment for member in part.members]
    columns = _columns(reading, rows[0])
    if not columns or any(row.row is None or len(row.row.cells) != len(columns) for row in rows):
        for index, row in enumerate(rows):
            before = gap if index == 0 else "\n"
            yield f"{before}- {label}{_quoted(reading, row)} [{part.number}]"
        return
    lines = [
        f"| {escape_markers(single_line(row.row.label))} [{part.number}] | {' | '.join(row.row.cells)} |"
        for row in rows
        if row.row
    ]
    yield f"{gap}{markdown_header(columns)}{chr(10).join(lines)}\n"


def _columns(reading: Reading, row: Segment) -> tuple[str, ...]:
    if row.header is None or row.row is None:
        return ()
    return column_names(reading.passage.text[row.header.start : row.header.end], len(row.row.cells))


def _quoted(reading: Reading, segment: Segment) -> str:
    return escape_markers(single_line(reading.words(segment)))


def _item(reading: Reading, segment: Segment) -> str:
    """A list item without the punctuation that ties it to the next one."""
    return _LIST_ENDING.sub("", _quoted(reading, segment))
