"""Arithmetic on cited numbers: what a sentence shows, and what its words name."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final, Literal

from rag.query.cells import Cell, Words, overlap
from rag.query.numbers import Number, close, numbers

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
_OPERATORS: Final[Mapping[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EQUALS: Final = re.compile(r"[=≈]")
_OPERAND: Final = "#"  # stands for a number while the shape of a calculation is looked for
_CALCULATION: Final = re.compile(rf"[\s(]*{_OPERAND}(?:[\s()]*[-+*/×÷−–xX][\s()]*{_OPERAND})+[\s)]*$")
_FROM_TO: Final = re.compile(
    r"\bfrom\s(?P<old>.{1,40}?)\sto\s(?P<new>.{1,60}?)(?:,\s|\(|;|\bor\b|\bby\b)", re.IGNORECASE
)


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


@dataclass(frozen=True, slots=True)
class Shown:
    """The calculations that a statement shows: starts of results, whether right, and starts of their operands."""

    results: Mapping[int, bool]
    operands: frozenset[int]


def shown_in(statement: str) -> Shown:
    """What the statement calculates before the reader's eyes.

    Read are "a − b = c", with + − × ÷ and brackets, and "from a to b, an increase of c" or "of c %".
    """
    results: dict[int, bool] = {}
    operands: set[int] = set()
    all_numbers = numbers(statement)
    for equals in _EQUALS.finditer(statement):
        result = next((each for each in all_numbers if each.end > equals.end()), None)
        before = [each for each in all_numbers if each.end <= equals.start()]
        used, value = _calculated(statement[: equals.start()], before)
        if value is None or result is None:
            continue
        in_percent = result.unit == "percent" and not any(each.unit == "percent" or each.value == 100 for each in used)
        results[result.start] = close(result, value * (100 if in_percent else 1) / (result.scale or 1))
        results.update({each.start: True for each in used if each.value == 100 and not each.unit})  # makes it percent
        operands.update(each.start for each in used)
    for old, new, result in _from_to(statement, all_numbers):
        operands.update((old.start, new.start))
        results[result.start] = _is_change(old, new, result)
    return Shown(results, frozenset(operands) - set(results))


def _calculated(text: str, before: Sequence[Number]) -> tuple[list[Number], float | None]:
    """The operands at the end of `text` and what they give; None where no calculation stands there."""
    shape = list(text)
    for each in before:
        shape[each.start : each.end] = [_OPERAND, *" " * (each.end - each.start - 1)]
    match = _CALCULATION.search("".join(shape))
    if match is None:
        return [], None
    used = [each for each in before if each.start >= match.start()]
    values = iter(used)
    expression = re.sub(_OPERAND, lambda _: repr(_amount(next(values))), match.group())
    return used, _value(expression)


def _amount(number: Number) -> float:
    return number.value * (number.scale or 1)


def _is_change(old: Number, new: Number, result: Number) -> bool:
    """Whether `result` is the change from `old` to `new`: a difference, or a percentage of the old amount."""
    before, after = old.value * (old.scale or new.scale or 1), _amount(new)
    change = after - before
    if result.unit == "percent" and not (old.unit == new.unit == "percent"):
        change = 100 * change / abs(before) if before else 0.0
    else:
        change /= result.scale or new.scale or 1
    return close(result, change) or close(result, abs(change))


def _from_to(statement: str, all_numbers: Sequence[Number]) -> Iterator[tuple[Number, Number, Number]]:
    """The old amount, the new one and the change that is said of them."""
    for match in _FROM_TO.finditer(statement):
        old = _last_amount(match.start("old"), match.end("old"), all_numbers)
        new = _last_amount(match.start("new"), match.end("new"), all_numbers)
        result = next((each for each in all_numbers if each.start >= match.end() - 1 and each.kind == "amount"), None)
        if old and new and result:
            yield old, new, result


def _last_amount(start: int, end: int, all_numbers: Sequence[Number]) -> Number | None:
    inside = [each for each in all_numbers if start <= each.start and each.end <= end and each.kind == "amount"]
    return inside[-1] if inside else None


def _value(expression: str) -> float | None:
    """The value of plain arithmetic, None for anything else."""
    text = re.sub(r"[×xX]", "*", expression).replace("÷", "/").replace("–", "-").replace("−", "-").strip()
    try:
        return _evaluated(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError):
        return None


def _evaluated(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right))
    raise ValueError("not plain arithmetic")


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
