"""What a sentence calculates before the reader's eyes: "1,250 − 1,100 = 150", "from 1,100 to 1,250, up 13.6 %"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rag.query.numbers import Number, close, numbers

_OPERATORS: Final[Mapping[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_EQUALS: Final = re.compile(r"[=≈]")
_OPERAND: Final = "#"  # stands for a number while the shape of a calculation is looked for
_CALCULATION: Final = re.compile(rf"(?:[-−–](?=\())?[\s(]*{_OPERAND}(?:[\s()]*[-+*/×÷−–xX][\s()]*{_OPERAND})+[\s)]*$")
_FROM_TO: Final = re.compile(
    r"\bfrom\s(?P<old>.{1,40}?)\sto\s(?P<new>.{1,60}?)(?:,\s|\(|;|\bor\b|\bby\b)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Calculation:
    """A calculation that a statement shows: where its result starts, whether that is right, and its operands.

    `scale` and `percent` are what the result says of operands that say nothing themselves. Where it `cancels`, as in a
    share or a growth rate, nothing says their scale: any is right that is the same for all.
    """

    result: int
    right: bool
    operands: tuple[Number, ...]
    constants: frozenset[int] = frozenset()  # starts of the numbers that belong to the formula, not to the sources
    scale: float | None = None
    percent: bool = False
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class Formula:
    """A written formula: what it gives, the numbers it is about, those that belong to it, and whether it is a ratio."""

    value: float
    operands: tuple[Number, ...]
    constants: tuple[Number, ...]
    is_ratio: bool


def calculations_in(statement: str) -> list[Calculation]:
    """What the statement calculates before the reader's eyes.

    Read are "a − b = c", with + − × ÷ and brackets, and "from a to b, an increase of c" or "of c %". The number of
    terms in an average, "× 100" and the "− 1" after a quotient belong to the formula.
    """
    all_numbers = numbers(statement)
    found = []
    for equals in _EQUALS.finditer(statement):
        result = next((each for each in all_numbers if each.end > equals.end()), None)
        before = [each for each in all_numbers if each.end <= equals.start()]
        formula = formula_at_end(statement[: equals.start()], before)
        if formula and result:
            found.append(_calculation(formula, result))
    for old, new, result in _from_to(statement, all_numbers):
        found.append(Calculation(result.start, _is_change(old, new, result), (old, new)))
    return found


def _calculation(formula: Formula, result: Number) -> Calculation:
    constants = frozenset(each.start for each in formula.constants)
    percent = result.unit == "percent"
    bare = not any(each.scale or each.unit == "percent" for each in formula.operands)
    of_hundred = percent and bare and formula.is_ratio and not any(each.value == 100 for each in formula.constants)
    same_scale = bare and not formula.is_ratio  # as the result: 100 − 82 = 18 million
    value = formula.value * (100 if of_hundred else 1) / (1 if same_scale else result.scale or 1)
    return Calculation(
        result.start,
        close(result, value),
        formula.operands,
        constants,
        scale=result.scale if same_scale else None,
        percent=percent and same_scale,
        cancels=bare and formula.is_ratio and result.scale is None,
    )


def formula_at_end(text: str, before: Sequence[Number]) -> Formula | None:
    """The formula at the end of `text`; None where none stands there."""
    match = _CALCULATION.search(_shape(text, before))
    if match is None:
        return None
    used = [each for each in before if each.start >= match.start()]
    values = iter(used)
    formula = re.sub(_OPERAND, lambda _: repr(_amount(next(values))), match.group())
    formula = re.sub(r"[×xX]", "*", formula).replace("÷", "/").replace("–", "-").replace("−", "-").strip()
    try:
        tree = ast.parse(formula, mode="eval").body
        value = _evaluated(tree)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, OverflowError):
        return None
    leaves = sorted((each for each in ast.walk(tree) if isinstance(each, ast.Constant)), key=lambda it: it.col_offset)
    fixed = set(_constants(tree))
    constants = tuple(number for number, leaf in zip(used, leaves, strict=True) if leaf in fixed)
    divisions = [each for each in ast.walk(tree) if isinstance(each, ast.BinOp) and isinstance(each.op, ast.Div)]
    is_ratio = any(each.right not in fixed for each in divisions)
    return Formula(value, tuple(each for each in used if each not in constants), constants, is_ratio)


def _shape(text: str, before: Sequence[Number]) -> str:
    """The text with a sign for each number; the formula's brackets stay, also where a number was read with them."""
    shape = list(text)
    for each in before:
        written = text[each.start : each.end]
        opened, closed = (written.count(bracket) - each.bracketed for bracket in "()")
        sign = f"{'(' * opened}{_OPERAND}{')' * closed}"
        shape[each.start : each.end] = sign.ljust(each.end - each.start)
    return "".join(shape)


def _constants(tree: ast.expr) -> Iterator[ast.expr]:
    """The leaves that belong to the formula: the 3 in (a + b + c) / 3, the 100 in a / b × 100, the 1 in a / b − 1."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.BinOp):
            continue
        if isinstance(node.op, ast.Div) and _is(node.right, _terms(node.left)) and _terms(node.left) > 1:
            yield node.right
        elif isinstance(node.op, ast.Mult):
            yield from (each for each in (node.left, node.right) if _is(each, 100))
        elif isinstance(node.op, ast.Sub) and _is(node.right, 1) and _is_quotient(node.left):
            yield node.right


def _is(node: ast.expr, value: float) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _is_quotient(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)


def _terms(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _terms(node.left) + _terms(node.right)
    return _terms(node.operand) if isinstance(node, ast.UnaryOp) else 1


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


def _evaluated(node: ast.AST) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right))
    raise ValueError("not plain arithmetic")
