"""Whether every number of a statement traces to what it cites: its row and column, its sentence, or shown arithmetic.

A number in a table counts only where no other row and no other column fits the words better: "net income was 5" is not
carried by the 5 in the row of revenue. A number in prose counts where its sentence is about what the words are about.
Years, dates, quarters and references to rules must stand in the cited text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from rag.query.arithmetic import Operation, named_results, operation_named
from rag.query.calculations import Calculation, calculations_in
from rag.query.cells import Cell, Words, cells, label_words, overlap
from rag.query.numbers import Number, agree, close, numbers
from rag.query.segments import segments

Arithmetic = Literal["shown", "named"]

_SLACK: Final = 0.25  # how far behind the best row or column the right one may be
_TABLES: Final = 1000  # more than one passage can hold
_LISTED: Final = re.compile(r"\s*(?:[;,]|and|or|to|[–-])(?:\s*(?:and|or))?\s*")
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
# An amount of another period than the one that the statement names: "5 million in 2019, up from 4 million".
_BEFORE: Final = re.compile(r"\b(?:from|than|versus|vs\.|compared\s(?:to|with)|against)\s(?:\w+\s)?$", re.IGNORECASE)
_ABOUT: Final = 0.6  # share of the best sentence's words in common that the number's sentence must reach


@dataclass(frozen=True, slots=True)
class Untraced:
    """A number of a statement, as it is written there, that nothing cited carries, and why."""

    written: str
    reason: str


@dataclass(frozen=True, slots=True)
class Carrier:
    """Where a number stands: the position of its source, counted from 0, and its first character there."""

    source: int
    start: int


@dataclass(frozen=True, slots=True)
class _InProse:
    """A number in a sentence, with the words of that sentence, the years and the amounts in it."""

    number: Number
    words: Words
    sentence: tuple[Number, ...]
    source: int
    start: int


@dataclass(frozen=True, slots=True)
class _Sources:
    cells: tuple[Cell, ...]
    prose: tuple[_InProse, ...]
    sentences: tuple[Words, ...]
    everything: tuple[Number, ...]


def trace(
    statement: str, sources: Sequence[str], *, context: str = "", arithmetic: Arithmetic = "shown"
) -> tuple[list[Untraced], list[Carrier]]:
    """The numbers of `statement` that the cited `sources` do not carry, and where the others stand.

    `context` are words that say what the statement is about, such as its question. `arithmetic`: `shown` accepts a
    result only where the statement shows the calculation; `named` also one that the words name ("the change in revenue
    between 2018 and 2019") and that comes out of the cells that they name.
    """
    found = _read(tuple(sources))
    about = f"{context} {statement}"
    operation = operation_named(about) if arithmetic == "named" else ""
    calculations = calculations_in(statement)
    results = {each.result: each.right for each in calculations}
    constants = frozenset().union(*(each.constants for each in calculations))
    operands = {each.start: each for calculation in calculations for each in _as_read(calculation, about, found)}
    missing, carriers = [], []
    for number in listed_together(statement):
        written = statement[number.start : number.end].strip()
        if number.start in results or number.start in constants:
            if not results.get(number.start, True):
                missing.append(Untraced(written, "is not what the calculation shown gives"))
            continue
        if number.kind != "amount":
            if not _stands(number, found):
                missing.append(Untraced(written, "is not in the cited sentences"))
            continue
        words = label_words(about) - label_words(written)
        if number.start in operands:
            carrier, reason = _carrier(operands[number.start], _of_operands(words), found, "")
        else:
            prior = _BEFORE.search(statement[: number.start])
            carrier, reason = _carrier(number, _undated(words) if prior else words, found, operation)
        if carrier:
            carriers.append(carrier)
        elif reason:
            missing.append(Untraced(written, reason))
    return missing, carriers


def _as_read(calculation: Calculation, about: str, found: _Sources) -> list[Number]:
    """The operands with the scale and the unit that hold for them: of what is possible, what the sources carry best."""
    readings = [
        [
            replace(each, scale=each.scale or calculation.scale, unit="percent" if calculation.percent else each.unit)
            for each in calculation.operands
        ]
    ]
    if calculation.cancels:
        scales = {each.scale for each in found.cells} | {each.number.scale for each in found.prose}
        readings += [[replace(each, scale=scale) for each in calculation.operands] for scale in scales - {None}]
        readings.append([replace(each, unit="percent") for each in calculation.operands])
    words = _of_operands(label_words(about))
    return max(readings, key=lambda reading: sum(_carrier(each, words, found, "")[0] is not None for each in reading))


def _of_operands(words: Words) -> Words:
    """An operand is of a year that is named, or between two that are; where only one is, it may be of another."""
    named = sorted(int(word) for word in words if _YEAR.fullmatch(word))
    return words | {str(year) for year in range(named[0], named[-1])} if len(named) > 1 else _undated(words)


def _undated(words: Words) -> Words:
    return frozenset(word for word in words if not _YEAR.fullmatch(word))


def listed_together(text: str) -> list[Number]:
    """The numbers of `text`; in "5, 7 and 9 million" and "5 or 6%" all have the scale and the unit of the last one."""
    found: list[Number] = []
    for each in reversed(numbers(text)):
        number = each
        if found and number.kind == found[-1].kind == "amount" and number.scale is None and number.unit != "percent":
            last = found[-1]
            if _LISTED.fullmatch(text[number.end : last.start]) and number.unit in {"", last.unit}:
                number = replace(number, scale=last.scale, unit=last.unit)
        found.append(number)
    return found[::-1]


def _carrier(number: Number, words: Words, found: _Sources, operation: Operation) -> tuple[Carrier | None, str]:
    """Where this number stands, or why nothing carries it; neither for the result of a named operation."""
    matching = [each for each in found.cells if agree(number, each.number, number.scale, each.scale)]
    prose = [each for each in found.prose if agree(number, each.number, number.scale, each.number.scale)]
    if operation:
        if any(_is_result(number, *result) for result in named_results(operation, words, found.cells)):
            return None, ""
        matching = [each for each in matching if operation_named(" ".join(each.row | each.column)) == operation]
        prose = [each for each in prose if operation_named(" ".join(each.words)) == operation]
    for cell in matching:
        if _fits(cell, words, found.cells):
            return Carrier(cell.place[0] // _TABLES, cell.number.start), ""
    for each in prose:
        if _about(each, words, found):
            return Carrier(each.source, each.start), ""
    if matching or prose:
        return None, "stands in another row, column or sentence"
    unscaled = replace(number, scale=None)
    other_scale = any(agree(unscaled, each.number, None, None) for each in found.cells)
    return None, "has another scale or unit there" if other_scale else "is not in the cited sentences"


def _fits(cell: Cell, words: Words, all_cells: Sequence[Cell]) -> bool:
    """Whether no other row and no other column of the cell's table fits the words clearly better."""
    same_table = [each for each in all_cells if each.place[0] == cell.place[0]]
    best_row = max(overlap(each.row, words) for each in same_table)
    best_column = max(overlap(each.column, words) for each in same_table)
    return overlap(cell.row, words) >= best_row - _SLACK and overlap(cell.column, words) >= best_column - _SLACK


def _about(each: _InProse, words: Words, found: _Sources) -> bool:
    """Whether the number's sentence is about what the words are about, and its year is theirs."""
    best = max(len(sentence & words) for sentence in found.sentences)
    if len(each.words & words) < _ABOUT * best:
        return False
    years = [number for number in each.sentence if number.kind == "year"]
    wanted = {str(int(year.value)) for year in years} & words
    if len(wanted) != 1 or len(years) < 2:
        return True
    amounts = [number for number in each.sentence if number.kind == "amount" and number.unit == each.number.unit]
    if len(amounts) == len(years):
        of = years[amounts.index(each.number)]
    else:
        of = min(years, key=lambda year: abs(year.start - each.number.start))
    return str(int(of.value)) in wanted


def _is_result(number: Number, value: float, scale: float | None) -> bool:
    """Whether a calculated value, in a scale, is what the number states."""
    factor = 1.0 if number.unit == "percent" or None in (scale, number.scale) else (scale or 1) / (number.scale or 1)
    return close(number, value * factor)


def _stands(number: Number, found: _Sources) -> bool:
    if any(agree(number, each, None, None) for each in found.everything):
        return True
    if number.kind == "year":
        return any(each.period.startswith(f"{number.value:.0f}-") for each in found.everything)
    if number.kind != "period" or len(number.period) <= 5:
        return False
    # "September 30," may head a column whose "2019" stands in the line below.
    year, _, day = number.period.partition("-")
    stand = {each.period for each in found.everything} | {
        str(int(each.value)) for each in found.everything if each.kind == "year"
    }
    return year in stand and any(day == each or each.endswith(f"-{day}") for each in stand)


@lru_cache(maxsize=256)
def _read(sources: tuple[str, ...]) -> _Sources:
    """Everything in the sources that can carry a number."""
    all_cells: list[Cell] = []
    prose: list[_InProse] = []
    sentences: list[Words] = []
    everything: list[Number] = []
    for index, text in enumerate(sources):
        for cell in cells(text):
            table, row, column = cell.place
            all_cells.append(replace(cell, place=(_TABLES * index + table, row, column)))
        everything += numbers(text)
        for start, sentence in _sentences(text):
            words = label_words(sentence)
            sentences.append(words)
            of = numbers(sentence)
            prose += [_InProse(each, words, of, index, start + each.start) for each in of if each.kind == "amount"]
    return _Sources(tuple(all_cells), tuple(prose), tuple(sentences), tuple(everything))


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    for segment in segments(text):
        words = text[segment.start : segment.end]
        if segment.kind != "row" and not words.lstrip().startswith("|"):
            yield segment.start, words
