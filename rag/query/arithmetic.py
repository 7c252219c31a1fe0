"""Arithmetic on cited numbers that the words of a sentence name; `calculations` reads the one that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Final, Literal

from rag.query.cells import Cell, Words, overlap

Operation = Literal["", "percentage change", "change", "average", "sum", "ratio"]

_CHANGE: Final = (
    r"(?:change[sd]?|increase[sd]?|decrease[sd]?|growth|grew|decline[sd]?|rose|fell|differences?|reductions?)"
)
_PATTERNS: Final[tuple[tuple[Operation, str], ...]] = (
    ("average", r"\baverage[sd]?\b|\bmean\b"),
    (
        "percentage change",
        rf"(?:\bpercent\w*|%)(?:\s\(?%?\)?)?\s?(?:\w+\s)?{_CHANGE}\b|\bgrowth\srate|\b{_CHANGE}\b.*%",
    ),
    ("change", rf"\b{_CHANGE}\b|\bmore\sthan\b|\bless\sthan\b"),
    ("ratio", r"\bratio\b|\bproportion\b|\bpercentage\b|\bper\s?cent\b|\bshare\sof\b|\bas\sa\s%|\bmargin\b"),
    ("sum", r"\bsum\b|\btotal\b|\bcombined\b|\btogether\b"),
)
_OPERATIONS: Final = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _PATTERNS)
_ROWS: Final = 4  # rows, and columns, that fit the words best are tried as operands
_SLACK: Final = 0.35  # how far behind the best row or column such a one may be


def operation_named(words: str) -> Operation:
    """The calculation that the words ask for or report; "" where they name none."""
    return next((name for name, pattern in _OPERATIONS if pattern.search(words)), "")


def named_results(
    operation: Operation, words: Words, all_cells: Sequence[Cell]
) -> Iterator[tuple[float, float | None]]:
    """What the operation gives on the cells that the words name, with the scale of the result.

    Operands share a row or a column, one of those that fit the words best. A change is the later less the earlier
    where the columns name years, else both ways.
    """
    for table in {each.place[0] for each in all_cells}:
        of_table = [each for each in all_cells if each.place[0] == table]
        rows, columns = _lines(of_table, words, 1), _lines(of_table, words, 2)
        for line in [*rows, *columns]:
            across = columns if line in rows else rows
            crossing = {(each.place[1], each.place[2]) for other in across for each in other}
            chosen = [each for each in line if (each.place[1], each.place[2]) in crossing]
            for operands in {tuple(chosen), tuple(line)}:
                for value in _applied(operation, operands):
                    yield value, operands[0].scale


def _lines(of_table: Sequence[Cell], words: Words, axis: Literal[1, 2]) -> list[tuple[Cell, ...]]:
    """The rows (axis 1) or columns (axis 2) that fit the words best, best first."""
    lines: dict[int, list[Cell]] = {}
    for each in of_table:
        lines.setdefault(each.place[axis], []).append(each)
    fit = {place: overlap(line[0].row if axis == 1 else line[0].column, words) for place, line in lines.items()}
    best = max(fit.values())
    ranked = sorted(lines, key=lambda place: -fit[place])
    named = [place for place in ranked if fit[place] > 0 or fit[place] >= best - _SLACK]
    return [tuple(lines[place]) for place in named[:_ROWS]]


def _applied(operation: Operation, operands: Sequence[Cell]) -> Iterator[float]:
    values = [each.number.value for each in operands]
    if len(values) < 2:
        return
    if operation == "average":
        yield sum(values) / len(values)
        yield from ((one + other) / 2 for one, other in combinations(values, 2))
    elif operation == "sum":
        yield sum(values)
        yield from (one + other for one, other in combinations(values, 2))
    elif operation == "ratio":
        for one, other in permutations(values, 2):
            if other:
                yield from (one / other, 100 * one / other)
    else:
        yield from _changes(operands)


def _changes(operands: Sequence[Cell]) -> Iterator[float]:
    for one, other in permutations(operands, 2):
        earlier, later = _year(one), _year(other)
        if earlier and later and earlier > later:
            continue
        change = other.number.value - one.number.value
        yield change
        if one.number.value:
            yield 100 * change / abs(one.number.value)


def _year(cell: Cell) -> int:
    years = [int(word) for word in cell.column | cell.row if re.fullmatch(r"(?:19|20)\d\d", word)]
    return years[0] if len(years) == 1 else 0
