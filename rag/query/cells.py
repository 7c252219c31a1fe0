"""The cells of tables, each with the words of its row and of its column, and the scale that its table states."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

from rag.query.numbers import SCALES, Number, numbers
from rag.query.segments import segments
from rag.query.tables import column_names
from rag.query.words import stems

Words = frozenset[str]

_SHORT_YEAR: Final = re.compile(r"\b(?:FY|F)['’]?\s?(\d\d)\b", re.IGNORECASE)
_TABLE_SCALE: Final = re.compile(
    r"\b(?:in|of)\s(?:[a-z$€£.]+\s){0,3}?(?P<word>thousand|million|billion)s?\b"
    r"|[$€£]\s?(?P<symbol>m|mn|k|bn|b)\b|[$€£]\s?'?(?P<zeros>000)s?\b|\((?:[$€£]\s?)?(?P<alone>thousand|million|billion)s?\)"
    r"|[$€£’']\s?(?:in\s)?(?P<money>thousand|million|billion)s?\b|\((?P<thousand>1,000)\)",
    re.IGNORECASE,
)
_UNSCALED: Final = re.compile(
    r"\bper\s(?:[\w-]+\s){0,2}(?:share|unit|adr|ads)\b|%|\bpercent|\brate\b|\bratio\b|\bin\s(?:years|months|days)\b",
    re.IGNORECASE,
)
_EXTRA: Final = 0.1
_LETTER_SCALES: Final = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9}


@dataclass(frozen=True, slots=True)
class Cell:
    """A number in a table. `row` and `column` hold stems of its labels; `place` is (table, row, column).

    `scale` is its own or what its headers state, None where nothing states one. `percent`: a header says that it is.
    """

    number: Number
    row: Words
    column: Words
    place: tuple[int, int, int]
    scale: float | None
    percent: bool


@dataclass(frozen=True, slots=True)
class _Line:
    """A row: its start in the text, the label, and what stands under each column."""

    start: int
    label: str
    cells: tuple[tuple[int, str], ...]


def label_words(text: str) -> Words:
    """The stems of a label or sentence; "FY19" is 2019."""
    return frozenset(stems(_SHORT_YEAR.sub(r"20\1", text)))


def overlap(label: Words, words: Words) -> float:
    """How well a label fits the words: what they share, less a tenth for each word that only the label has."""
    return len(label & words) - _EXTRA * len(label - words)


def stated_scale(text: str) -> float | None:
    """The scale that a header or a note states, such as "in thousands" or "€m"; None where it states none."""
    match = _TABLE_SCALE.search(text)
    if match is None:
        return None
    word = match["word"] or match["alone"] or match["money"]
    if word:
        return SCALES[word.lower()]
    return _LETTER_SCALES[match["symbol"].lower()] if match["symbol"] else 1e3


@lru_cache(maxsize=512)
def cells(text: str) -> tuple[Cell, ...]:
    """The numeric cells of all tables in `text`: Markdown tables, and the rows that text extracted from a PDF holds."""
    found: list[Cell] = []
    everywhere = stated_scale(text)
    tables = list(_markdown_tables(text))
    for index, lines in enumerate(tables):
        found += _grid(lines, index, everywhere)
    if not tables:
        found += _extracted(text, everywhere)
    return tuple(found)


def _markdown_tables(text: str) -> Iterator[list[_Line]]:
    lines: list[_Line] = []
    position = 0
    for raw in [*text.split("\n"), ""]:
        line = raw.strip()
        if line.startswith("|") and line.count("|") > 1:
            if not set(line) <= set("|-: "):
                lines.append(_markdown_line(raw, position))
        elif lines:
            yield lines
            lines = []
        position += len(raw) + 1


def _markdown_line(raw: str, position: int) -> _Line:
    bars = [place for place, letter in enumerate(raw) if letter == "|"]
    if not raw.rstrip().endswith("|"):
        bars.append(len(raw))
    parts = [(position + left + 1, raw[left + 1 : right]) for left, right in pairwise(bars)]
    return _Line(position, parts[0][1].strip(), tuple(parts[1:]))


def _grid(lines: Sequence[_Line], table: int, everywhere: float | None) -> list[Cell]:
    """The cells of a table whose lines of columns above the first amount name the columns."""
    header: list[_Line] = []
    group = ""
    found: list[Cell] = []
    in_header = True
    for row, line in enumerate(lines):
        if not any(content.strip() for _, content in line.cells):
            group = line.label or group
            if in_header:
                header.append(line)
            continue
        if not _has_amount(line):
            header = [*header, line] if in_header else [line]
            in_header = True
            continue
        in_header = False
        table_scale = stated_scale(" ".join(_note(each) for each in header)) or everywhere
        for column, (start, content) in enumerate(line.cells):
            name = " ".join(_spanning(each, column) for each in header)
            found += _cells_in(content, start, (line.label, group, name), (table, row, column), table_scale)
    return found


def _note(line: _Line) -> str:
    """What a line of the header says about the whole table: its label, and words that stand alone in it."""
    contents = [content for _, content in line.cells if content.strip()]
    return f"{line.label} {contents[0] if len(contents) == 1 else ''}"


def _has_amount(line: _Line) -> bool:
    return any(
        each.kind == "amount" and not re.search(r"[A-Za-z]{3}", content)
        for _, content in line.cells
        for each in numbers(content)
    ) and not stated_scale(" ".join(content for _, content in line.cells))


def _spanning(line: _Line, column: int) -> str:
    """What a line of the header says over this column: its own words, or those of the nearest to the left."""
    for _, content in reversed(line.cells[: column + 1]):
        if content.strip():
            return content
    return next((content for _, content in line.cells if content.strip()), "")


def _cells_in(
    content: str, start: int, names: tuple[str, str, str], place: tuple[int, int, int], table_scale: float | None
) -> Iterator[Cell]:
    label, group, column = names
    for each in numbers(content):
        if each.kind != "amount":
            continue
        moved = replace(each, start=each.start + start, end=each.end + start)
        headers = f"{label} {column}"
        own = each.scale or stated_scale(column) or stated_scale(label) or stated_scale(group)
        unscaled = each.unit == "percent" or _UNSCALED.search(headers)
        scale = own or (1.0 if unscaled else table_scale)
        row = label_words(label) | label_words(group)
        yield Cell(moved, row, label_words(column), place, scale, "%" in headers or "percent" in headers.lower())


def _extracted(text: str, everywhere: float | None) -> list[Cell]:
    """The cells of rows as they come out of a PDF; columns have names where the header can be read."""
    found: list[Cell] = []
    table, header_start = -1, -1
    for index, segment in enumerate(segments(text)):
        if segment.row is None:
            continue
        above = text[segment.header.start : segment.header.end] if segment.header else ""
        if segment.header is None or segment.header.start != header_start:
            table += 1
            header_start = segment.header.start if segment.header else -1
        group = text[segment.group.start : segment.group.end] if segment.group else ""
        names = column_names(above, len(segment.row.cells)) or (above,) * len(segment.row.cells)
        position = segment.start + len(segment.row.label)
        for column, content in enumerate(segment.row.cells):
            start = text.find(content, position)
            position = start + len(content)
            labels = (segment.row.label, group, names[column])
            place = (table, index, column)
            found += _cells_in(content, start, labels, place, stated_scale(above) or everywhere)
    return found
