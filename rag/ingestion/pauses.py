"""Where a page's text pauses, and how strongly: what the splitter may cut at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]

# MiniLM's tokeniser reads a run of more than 100 characters as one unknown word. Such runs are cut into pieces that
# are still longer than that, and each piece is charged what ordinary text of its length would cost.
_LONG_WORD: Final = 240
_LONG_WORD_COST: Final = 60

# None of these patterns can start a long match at many places, so all are linear in the text.
_WORD: Final = re.compile(r"\S+")
_SENTENCE_END: Final = re.compile(r"[.!?;:…。！？][\"'”’)\]]*(?=\s)")
_LINE_END: Final = re.compile(r"[\n\r\f]\s*")
_ITEM: Final = re.compile(r"(?:\([A-Za-z0-9]{1,5}\)|[•●▪◦‣–—*-]|(?:\d{1,3}|[A-Za-z])[.)]|§{1,2})(?=\s)")
_CELLS: Final = ("\t", " | ")


class Pause(IntEnum):
    """How good a place to cut is, in front of a word. A higher one is taken before a lower one."""

    WORD = 0
    LINE = 1
    SENTENCE = 2
    SENTENCE_AND_LINE = 3
    ITEM = 4
    ROW = 5
    PARAGRAPH = 6
    HEADING = 7


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one page, in order: character spans, word pieces before each, and the pause in front of each.

    `before[i]` is the cost of all words before word i; it has one entry more than there are words. `row[i]` is the
    first word of the table row that word i stands in, `table[i]` that of the table; -1 outside tables.
    """

    starts: Numbers
    ends: Numbers
    before: Numbers
    pauses: Numbers
    row: Numbers
    table: Numbers

    def __len__(self) -> int:
        return len(self.starts)


def words_of(text: str, piece_starts: Sequence[int], headings: Sequence[int]) -> Words:
    """The words of a page. `piece_starts` are the ascending offsets of its word pieces, `headings` of its headings."""
    spans = np.array([span for match in _WORD.finditer(text) for span in _short(*match.span())], dtype=np.int64)
    starts, ends = spans.reshape(-1, 2).T if len(spans) else np.empty((2, 0), dtype=np.int64)
    row, table = _rows(text, starts)
    return Words(
        starts=starts,
        ends=ends,
        before=_costs_before(starts, ends, piece_starts),
        pauses=_pauses(text, starts, headings, row, table),
        row=row,
        table=table,
    )


def _short(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span of a word, or its pieces where nobody could read it as one word."""
    pieces = max(1, (end - start) // _LONG_WORD)
    step = (end - start) // pieces
    for number in range(pieces):
        yield start + step * number, end if number == pieces - 1 else start + step * (number + 1)


def _costs_before(starts: Numbers, ends: Numbers, piece_starts: Sequence[int]) -> Numbers:
    """Sums of costs. A word costs the word pieces that begin in it; at least one, so that every window is finite."""
    edges = np.searchsorted(np.asarray(piece_starts, dtype=np.int64), np.append(starts, ends[-1:]))
    costs = np.maximum(np.diff(edges), 1) if len(starts) else np.empty(0, dtype=np.int64)
    costs = np.where(ends - starts >= _LONG_WORD, np.maximum(costs, _LONG_WORD_COST), costs)
    return np.concatenate(([0], np.cumsum(costs, dtype=np.int64)))


def _pauses(text: str, starts: Numbers, headings: Sequence[int], row: Numbers, table: Numbers) -> Numbers:
    """The strongest pause in front of each word, from the characters between it and the word before."""
    pauses = np.zeros(len(starts) + 1, dtype=np.int64)  # one more: what stands behind the last word has no place
    sentences = [match.end() for match in _SENTENCE_END.finditer(text)]
    pauses[np.searchsorted(starts, sentences)] = Pause.SENTENCE
    lines = [(match.start(), _line_pause(text, match)) for match in _LINE_END.finditer(text)]
    for place, pause in zip(np.searchsorted(starts, [offset for offset, _ in lines]).tolist(), lines, strict=True):
        after_sentence = pause[1] is Pause.LINE and pauses[place] == Pause.SENTENCE
        pauses[place] = Pause.SENTENCE_AND_LINE if after_sentence else max(pauses[place], pause[1])
    row_starts = np.unique(row[(row >= 0) & (row > table)])
    pauses[row_starts] = np.maximum(pauses[row_starts], Pause.ROW)
    pauses[np.searchsorted(starts, list(headings))] = Pause.HEADING
    return pauses[:-1]


def _line_pause(text: str, line_end: re.Match[str]) -> Pause:
    gap = line_end.group().replace("\r\n", "\n")
    if gap.count("\n") + gap.count("\r") + gap.count("\f") > 1:
        return Pause.PARAGRAPH
    return Pause.ITEM if _ITEM.match(text, line_end.end()) else Pause.LINE


def _rows(text: str, starts: Numbers) -> tuple[Numbers, Numbers]:
    """Two or more lines with cell separators after each other are a table; its first line is its header."""
    row, table = np.full((2, len(starts)), -1, dtype=np.int64)
    lines: list[tuple[int, int]] = []
    for start, end, has_cells in _lines(text):
        if has_cells:
            lines.append((start, end))
        else:
            _mark(row, table, starts, lines)
            lines = []
    _mark(row, table, starts, lines)
    return row, table


def _lines(text: str) -> Iterator[tuple[int, int, bool]]:
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line), any(separator in line for separator in _CELLS) and not line.isspace()
        start += len(line) + 1


def _mark(row: Numbers, table: Numbers, starts: Numbers, lines: Sequence[tuple[int, int]]) -> None:
    if len(lines) < 2:
        return
    edges = np.searchsorted(starts, lines)
    for first, end in edges.tolist():
        row[first:end], table[first:end] = first, edges[0, 0]
