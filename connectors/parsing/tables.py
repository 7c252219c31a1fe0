"""Rows of cells as lines that can be read, and found, without the table around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_NUMBER = re.compile(r"[-+(]?[\s$€£¥]*[\d.,\s']*\d[\d.,\s']*\)?\s*%?")
_SHORTEST_HEADER = 2  # cells


def row_line(cells: Iterable[str]) -> str:
    """A row as one line: "Fee | Amount | Notes". Empty cells at the end are left out, others keep their place."""
    flat = [" ".join(cell.split()) for cell in cells]
    while flat and not flat[-1]:
        flat.pop()
    return " | ".join(flat)


def labelled_line(header: Sequence[str], cells: Sequence[str]) -> str:
    """A row that names its columns: "Fee: Wire transfer | Amount: 25.00". Empty cells are left out."""
    parts = []
    for position, cell in enumerate(cells):
        value = " ".join(cell.split())
        name = " ".join(header[position].split()) if position < len(header) else ""
        if value:
            parts.append(f"{name}: {value}" if name else value)
    return " | ".join(parts)


def is_header(row: Sequence[str], following: Sequence[str]) -> bool:
    """True for a row of distinct words over a row that is no longer: what a reader takes for column heads."""
    names = [cell.strip() for cell in row if cell.strip()]
    filled = sum(1 for cell in following if cell.strip())
    if len(names) < _SHORTEST_HEADER or len(set(names)) != len(names) or not 1 < filled <= len(row):
        return False
    return not any(_NUMBER.fullmatch(name) for name in names)


def table_lines(rows: Iterable[Sequence[str]]) -> Iterator[tuple[int, str]]:
    """`(row number from 1, line)` for every row with text. An empty row ends a table; the next one may have own heads.

    Below a row of column heads, every line names its columns, so that it stands for itself.
    """
    header: Sequence[str] = ()
    held: tuple[int, Sequence[str]] | None = None  # a row that may turn out to be the heads of the next
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            if held:
                yield held[0], row_line(held[1])
            header, held = (), None
        elif header:
            yield number, labelled_line(header, row)
        else:
            if held:
                yield held[0], row_line(held[1])
                header = held[1] if is_header(held[1], row) else ()
            held = None if header else (number, row)
            if header:
                yield number, labelled_line(header, row)
    if held:
        yield held[0], row_line(held[1])
