"""TAT-QA's answers, the calculated ones with their calculation written out, right ones and ones that are spoiled.

The right statement is the derivation that TAT-QA's annotators wrote, "=" and the answer. Spoiled are its result, as in
the given statements, or one operand: another number of the same row, of the same column, or of neither, with the
result that this calculation has, so that only reading the table can tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from evaluations.datasets.grounding import NumberStatement, number_statements
from rag.query.calculations import Formula, formula_at_end
from rag.query.cells import Cell, cells
from rag.query.numbers import Number, numbers

Item = TypeVar("Item")
_PLACES: Final[Mapping[str, Callable[[Cell, Cell], bool]]] = {
    "operand of the row": lambda one, other: one.place[:2] == other.place[:2],
    "operand of the column": lambda one, other: one.place[0::2] == other.place[0::2],
    "operand of elsewhere": lambda one, other: one.place[1] != other.place[1] and one.place[2] != other.place[2],
}


def statements_with_calculations(data: Path) -> Iterator[NumberStatement]:
    """All of `number_statements`, those that are calculated with their calculation, and up to three wrong ones more."""
    with (data / "tatqa" / "qa.jsonl").open(encoding="utf-8") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines) if row["answer_type"] == "arithmetic"}
    for each in number_statements(data):
        row = rows.get(each.id.rsplit("-", 1)[0])
        if row is None:
            yield each
            continue
        yield replace(each, statement=f"{row['derivation'].strip()} = {each.statement}")
        if each.supported:
            yield from _with_other_operands(each, row)


def _with_other_operands(right: NumberStatement, row: dict[str, Any]) -> Iterator[NumberStatement]:
    written = row["derivation"].strip()
    formula = formula_at_end(written, numbers(written))
    if formula is None:
        return
    exchanged = _drawn(formula.operands, right.id)
    all_cells = cells(right.context)
    home = [each for each in all_cells if abs(each.number.value) == abs(exchanged.value)]
    used = {abs(each.value) for each in formula.operands}
    for kind, at_place in _PLACES.items():
        others = [
            each
            for each in all_cells
            if abs(each.number.value) not in {*used, 0.0} and any(at_place(each, cell) for cell in home)
        ]
        statement = others and _spoiled(written, exchanged, _drawn(others, f"{right.id}{kind}"), right, row["scale"])
        if statement:
            yield replace(right, id=f"{right.id} {kind}", kind=kind, supported=False, statement=statement)


def _spoiled(written: str, operand: Number, cell: Cell, right: NumberStatement, scale: str) -> str | None:
    """The calculation with the number of the cell in place of the operand, and its result; None where it has none."""
    other = f" {abs(cell.number.value):,.10g} "
    changed = f"{written[: operand.start]}{other}{written[operand.end :]}"
    formula = formula_at_end(changed, numbers(changed))
    stated = numbers(right.statement)[0]
    if formula is None:
        return None
    value = formula.value * (100 if _is_of_hundred(formula, stated) else 1)
    decimals = len(right.statement[stated.start : stated.end].partition(".")[2].rstrip("% abcdefghijklmnopqrstuvwxyz"))
    unit = "%" if stated.unit == "percent" else f" {scale}" if scale else ""
    return f"{changed} = {value:.{decimals}f}{unit}"


def _is_of_hundred(formula: Formula, stated: Number) -> bool:
    return stated.unit == "percent" and formula.is_ratio and all(each.value != 100 for each in formula.constants)


def _drawn(items: Sequence[Item], key: str) -> Item:
    """One of the items, by a hash."""
    return items[int(hashlib.sha1(key.encode()).hexdigest(), 16) % len(items)]  # noqa: S324 - a draw
