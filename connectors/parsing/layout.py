"""Where lines stand on a page: which pieces belong to one row, and where paragraphs begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# All in shares of the size of the letters. Two pieces of text stand on one line when they overlap by half and do not
# cross; a gap of three quarters starts a paragraph; lines of one cell of a table's head are at most half a line apart.
_SAME_LINE = 0.5
_PARAGRAPH_GAP = 0.75
_STACK_GAP = 0.5
_STACK_OVERLAP = 0.3
_JUMP = 0.3
_BAND = 1.0

_TALLEST_CELL = 4  # lines
_LONGEST_CELL_LINE = 60  # characters


@dataclass(slots=True)
class Line:
    """A line of a page: its text, its box and the size of its letters in points (0 where unknown), and its weight."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float
    bold: bool


def join_rows(lines: Sequence[Line]) -> list[Line]:
    """Lines with pieces that stand side by side joined: a footnote mark would part a row's label from its numbers."""
    joined: list[Line] = []
    for line in lines:
        before = joined[-1] if joined else None
        if before is not None and _continues(before, line):
            before.text += " " + line.text
            before.right = line.right
            before.bold = before.bold and line.bold
        else:
            joined.append(line)
    return joined


def join_heads(lines: Sequence[Line]) -> list[Line]:
    """Lines with the column heads of a table in one: "June 25, 2022 | June 26, 2021" instead of a line for each half.

    PDFium gives cell after cell, each from top to bottom; so a cell that has several lines ends with a step up and to
    the right.
    """
    joined: list[Line] = []
    position = 0
    while position < len(lines):
        cells = _head_cells(lines, position)
        if len(cells) > 1 and not any(map(_is_column_of_numbers, cells)):
            joined.append(_merge(cells))
            position += sum(map(len, cells))
        else:
            joined.append(lines[position])
            position += 1
    return joined


def starts_paragraph(before: Line, line: Line) -> bool:
    """True when the gap between two lines is wider than between lines of a paragraph."""
    size = min(before.size, line.size)
    return size > 0 and before.bottom - line.top > _PARAGRAPH_GAP * size


def _continues(before: Line, line: Line) -> bool:
    overlap = min(before.top, line.top) - max(before.bottom, line.bottom)
    smaller = min(before.size, line.size)
    return smaller > 0 and overlap >= _SAME_LINE * smaller and line.left >= before.right - _SAME_LINE * smaller


def _head_cells(lines: Sequence[Line], position: int) -> list[list[Line]]:
    """The cells of a table's head that begins here, each a stack of lines; one cell where none begins."""
    cells: list[list[Line]] = []
    edge = float("-inf")  # right edge of the cells so far
    while True:
        cell = _stack(lines, position, edge)
        cells.append(cell)
        position += len(cell)
        edge = max(edge, *(line.right for line in cell))
        if position >= len(lines) or not _steps_up(cells, lines[position], edge):
            return cells


def _stack(lines: Sequence[Line], position: int, edge: float) -> list[Line]:
    """Lines that stand close below each other, right of `edge`."""
    cell = [lines[position]]
    for line in lines[position + 1 : position + _TALLEST_CELL]:
        above = cell[-1]
        gap = above.bottom - line.top
        is_close = -_STACK_OVERLAP * above.size <= gap <= _STACK_GAP * above.size
        overlaps = line.left < above.right and line.right > above.left
        if not (above.size and is_close and overlaps and line.left > edge and len(line.text) <= _LONGEST_CELL_LINE):
            break
        cell.append(line)
    return cell


def _steps_up(cells: list[list[Line]], line: Line, edge: float) -> bool:
    """True for the first line of the next cell: right of the others, higher than the last line, within their band."""
    last = cells[-1][-1]
    if not line.size or line.left <= edge or line.bottom <= last.bottom + _JUMP * last.size:
        return False
    everything = [each for cell in cells for each in cell]
    if any(len(each.text) > _LONGEST_CELL_LINE for each in (*everything, line)):
        return False
    margin = _BAND * last.size
    highest, lowest = max(each.top for each in everything), min(each.bottom for each in everything)
    return line.top <= highest + margin and line.bottom >= lowest - margin


def _is_column_of_numbers(cell: Sequence[Line]) -> bool:
    return sum(1 for line in cell if not any(map(str.isalpha, line.text))) > 1


def _merge(cells: list[list[Line]]) -> Line:
    everything = [line for cell in cells for line in cell]
    return Line(
        text=" | ".join(" ".join(line.text for line in cell) for cell in cells),
        left=min(line.left for line in everything),
        right=max(line.right for line in everything),
        bottom=min(line.bottom for line in everything),
        top=max(line.top for line in everything),
        size=everything[0].size,
        bold=False,
    )
