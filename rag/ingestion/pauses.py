"""Where a page's text pauses, and how strongly: what the splitter may cut at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

# MiniLM's tokeniser reads a run of more than 100 characters as one unknown word; such runs are cut into pieces that
# are still longer than that, and each piece is charged what ordinary text of its length would cost.
_LONG_WORD = 240
_LONG_WORD_COST = 60

_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"[.!?;:…。！？][\"'”’)\]]*$")
_ITEM = re.compile(r"(?:\([A-Za-z0-9]{1,5}\)|[•●▪◦‣–—*-]|(?:\d{1,3}|[A-Za-z])[.)]|§+)(?=\s)")
_ROW = re.compile(r"[^\n]*(?:\t| \| )[^\n]*")


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
    """The words of one page, in order: character spans, costs in word pieces, and the pause in front of each.

    `row[i]` is the index of the first word of the table row that word i stands in, or -1 outside tables; `table[i]` is
    the index of the first word of the table.
    """

    starts: list[int]
    ends: list[int]
    costs: list[int]
    pauses: list[Pause]
    row: list[int]
    table: list[int]

    def __len__(self) -> int:
        return len(self.starts)


def words_of(text: str, piece_starts: Sequence[int], headings: Sequence[int]) -> Words:
    """The words of a page. `piece_starts` are the ascending offsets of its word pieces, `headings` of its headings."""
    words = Words([], [], [], [], [], [])
    for match in _WORD.finditer(text):
        _append(words, text, match.start(), match.end())
    _mark_headings(words, headings)
    _mark_tables(words, text)
    _charge(words, piece_starts)
    return words


def _append(words: Words, text: str, start: int, end: int) -> None:
    pieces = max(1, (end - start) // _LONG_WORD)
    step = (end - start) // pieces
    previous = words.ends[-1] if words.ends else 0
    words.pauses.append(_pause(text, previous, start) if words.ends else Pause.PARAGRAPH)
    words.pauses.extend([Pause.WORD] * (pieces - 1))
    words.starts.extend(start + step * n for n in range(pieces))
    words.ends.extend([*(start + step * n for n in range(1, pieces)), end])


def _pause(text: str, previous_end: int, start: int) -> Pause:
    """The pause between two words, from the white space between them and the characters around it."""
    sentence = _SENTENCE_END.search(text, max(0, previous_end - 4), previous_end) is not None
    if start - previous_end == 1 and text[previous_end] not in "\n\r\f":
        return Pause.SENTENCE if sentence else Pause.WORD
    gap = text[previous_end:start].replace("\r\n", "\n")
    lines = gap.count("\n") + gap.count("\r") + gap.count("\f")
    if lines == 0:
        return Pause.SENTENCE if sentence else Pause.WORD
    if lines > 1:
        return Pause.PARAGRAPH
    if _ITEM.match(text, start):
        return Pause.ITEM
    return Pause.SENTENCE_AND_LINE if sentence else Pause.LINE


def _mark_headings(words: Words, headings: Sequence[int]) -> None:
    for index in np.searchsorted(np.asarray(words.starts, dtype=np.int64), list(headings)).tolist():
        if index < len(words):
            words.pauses[index] = Pause.HEADING


def _mark_tables(words: Words, text: str) -> None:
    """Two or more lines in a row with cell separators are a table; its first line is its header."""
    count = len(words)
    words.row.extend([-1] * count)
    words.table.extend([-1] * count)
    starts = np.asarray(words.starts, dtype=np.int64)
    table, last_end = -1, -2
    previous: tuple[int, int] | None = None
    for match in _ROW.finditer(text):
        low, high = np.searchsorted(starts, [match.start(), match.end()]).tolist()
        if low == high:
            continue
        if match.start() - last_end > 2:  # more than one line break away from the row before
            table, previous = low, (low, high)
        else:
            for first, end in (previous, (low, high)) if previous else ((low, high),):
                _mark_row(words, table, first, end)
            previous = None
        last_end = match.end()


def _mark_row(words: Words, table: int, first: int, end: int) -> None:
    words.row[first:end] = [first] * (end - first)
    words.table[first:end] = [table] * (end - first)
    if first > table:
        words.pauses[first] = max(words.pauses[first], Pause.ROW)


def _charge(words: Words, piece_starts: Sequence[int]) -> None:
    """Cost of a word: how many word pieces begin in it. At least one, so that every window is finite."""
    edges = np.searchsorted(np.asarray(piece_starts, dtype=np.int64), np.asarray([*words.starts, *words.ends[-1:]]))
    costs = np.maximum(np.diff(edges), 1).tolist() if len(words) else []
    long = [end - start >= _LONG_WORD for start, end in zip(words.starts, words.ends, strict=True)]
    words.costs.extend(
        max(cost, _LONG_WORD_COST) if is_long else cost for cost, is_long in zip(costs, long, strict=True)
    )
