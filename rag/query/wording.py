"""Chosen quotations, put into words: a lead sentence, then what supports it, tables as tables and lists as lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rag.query.composing import Part
from rag.query.prompting import escape_markers, single_line
from rag.query.segments import Segment
from rag.query.selecting import Reading
from rag.query.tables import column_names, markdown_header

_LIST_ENDING: Final = re.compile(r"\s*[;,](?:\s+(?:and|or))?$")


def word_answer(parts: Sequence[Part], readings: Sequence[Reading]) -> Iterator[str]:
    """The answer, piece by piece; each piece ends with its marker and the pieces make up the whole text."""
    titles = [readings[part.number - 1].passage.title for part in parts]
    bulleted = len(parts) > 2
    after_bullet = False
    for index, part in enumerate(parts):
        reading = readings[part.number - 1]
        changed = len(set(titles)) > 1 and (index == 0 or titles[index] != titles[index - 1])
        label = f"**{titles[index]}:** " if changed and titles[index] else ""
        bullet = "- " if index and bulleted and not _is_table(part, reading) else ""
        gap = "" if index == 0 else "\n" if bullet and after_bullet else "\n\n"
        after_bullet = bool(bullet)
        yield from _word_part(part, reading, f"{gap}{bullet}", label)


def _is_table(part: Part, reading: Reading) -> bool:
    return reading.segments[part.positions[0]].kind == "row"


def _word_part(part: Part, reading: Reading, gap: str, label: str) -> Iterator[str]:
    if part.lead is not None:
        yield f"{gap}{label}{_quoted(reading, part.lead)} [{part.number}]"
        if not _is_table(part, reading):
            yield from _word_items(part, reading, "  - " if gap.endswith("- ") else "- ")
            return
        gap, label = "\n\n", ""
    if _is_table(part, reading):
        yield from _word_table(part, reading, gap, label)
    else:
        yield f"{gap}{label}{_quoted(reading, part.positions[0])} [{part.number}]"


def _word_items(part: Part, reading: Reading, bullet: str) -> Iterator[str]:
    for position in part.positions:
        deeper = "" if reading.segments[position].lead == part.lead else "  "
        item = _LIST_ENDING.sub("", _quoted(reading, position))
        yield f"\n{deeper}{bullet}{item} [{part.number}]"


def _word_table(part: Part, reading: Reading, gap: str, label: str) -> Iterator[str]:
    rows = [reading.segments[position] for position in part.positions]
    columns = _columns(reading, rows[0])
    if not columns or any(row.row is None or len(row.row.cells) != len(columns) for row in rows):
        for index, position in enumerate(part.positions):
            before = f"{gap}{label}" if index == 0 else "\n\n"
            yield f"{before}{_quoted(reading, position)} [{part.number}]"
        return
    title = f"{gap}{label.rstrip()}\n\n" if label else gap
    lines = "\n".join(_table_lines(rows, reading, part.number, len(columns)))
    yield f"{title}{markdown_header(columns)}{lines}\n"


def _table_lines(rows: Sequence[Segment], reading: Reading, number: int, columns: int) -> Iterator[str]:
    """The rows, each group under the line that heads it."""
    group = None
    for row in rows:
        if row.group != group and row.group is not None:
            head = escape_markers(single_line(reading.passage.text[row.group.start : row.group.end]))
            yield f"| {head} [{number}] |{' |' * columns}"
        group = row.group
        if row.row is not None:
            yield f"| {escape_markers(single_line(row.row.label))} [{number}] | {' | '.join(row.row.cells)} |"


def _columns(reading: Reading, row: Segment) -> tuple[str, ...]:
    if row.header is None or row.row is None:
        return ()
    return column_names(reading.passage.text[row.header.start : row.header.end], len(row.row.cells))


def _quoted(reading: Reading, position: int) -> str:
    return escape_markers(single_line(reading.words(reading.segments[position])))
