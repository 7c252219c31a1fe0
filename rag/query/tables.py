"""Tables as they look in extracted text: rows of a label and cells, and the header above them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_CELL: Final = r"(?:\(?[$€£]?\s?\(?\d+(?:,\d{3})*(?:\.\d+)?\)?\s?(?:%|bps|x)?\)?|[—–-]+\s?%?|N/?[AM]|\*)"
_ROW: Final = re.compile(rf"^(?P<label>\S.*?)\s+(?P<cells>(?:[$€£]\s?)?{_CELL}(?:\s+(?:[$€£]\s?)?{_CELL})*)$")
_CELLS: Final = re.compile(rf"(?:[$€£]\s?)?{_CELL}")
_YEAR: Final = re.compile(r"^(?:19|20)\d\d$")
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY: Final = rf"{_MONTH}\s+\d{{1,2}},?"
_PERIOD: Final = r"(?:(?:Three|Six|Nine|Twelve)\s+Months\s+Ended|(?:Fiscal\s+)?(?:Year|Quarter)s?\s+Ended|As\s+of)"
_OTHER: Final = r"(?:19|20)\d\d|[$%]?\s?Change|Q[1-4]\s+(?:19|20)\d\d"
# A header can be read in several ways; the one whose number of columns fits is right.
_READINGS: Final = tuple(
    (re.compile(group, re.IGNORECASE), re.compile(rf"{day}|{_OTHER}", re.IGNORECASE))
    for group in (_PERIOD, rf"{_PERIOD}\s+{_DAY}")
    for day in (rf"{_DAY}(?:\s+(?:19|20)\d\d)?", _DAY)
)
_COLUMN_WORDS: Final = re.compile(rf"{_PERIOD}|{_DAY}|{_OTHER}|[|,$%()]|\bended\b|\btotal\b", re.IGNORECASE)
_MONTH_DAY: Final = re.compile(rf"^{_DAY}$", re.IGNORECASE)
_MONTH_FIRST: Final = re.compile(rf"^{_MONTH}\s", re.IGNORECASE)
_MONTH_LAST: Final = re.compile(rf"{_MONTH}$", re.IGNORECASE)
_MAX_LABEL_WORDS: Final = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A label and its cells, exactly as they stand in the line."""

    label: str
    cells: tuple[str, ...]


def read_row(line: str) -> Row | None:
    """The row that `line` is, or None when it is prose or a heading. Markdown rows count, their rulers do not."""
    line = line.strip()
    if line.startswith("|") and line.endswith("|") and len(line) > 2:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        ruler = all(set(cell) <= set("-: ") for cell in cells)
        return None if ruler or not cells[0] else Row(cells[0], tuple(cells[1:]))
    match = _ROW.match(line)
    if match is None:
        return None
    cells = [cell.strip() for cell in _CELLS.findall(match["cells"])]
    return Row(match["label"].strip(), tuple(cells)) if _looks_tabular(match["label"], cells) else None


def column_names(header: str, count: int) -> tuple[str, ...]:
    """One name for each of `count` columns, built from the words of `header`; empty when they cannot be told apart.

    "Three Months Ended Nine Months Ended July 1, 2023 June 25, 2022 July 1, 2023 June 25, 2022" names four columns.
    """
    header = " ".join(header.split())
    for group, column in _READINGS:
        groups = [match.group() for match in group.finditer(header)]
        names = _dated([match.group().strip() for match in column.finditer(group.sub(" ; ", header))])
        if len(names) == count and count > 0 and not _mixed(names):
            width = count // len(groups) if groups and count % len(groups) == 0 else 0
            return tuple(f"{groups[index // width]} {name}" if width else name for index, name in enumerate(names))
    return ()


def names_columns(line: str) -> bool:
    """True when `line` holds periods, dates and "Change" only, and at least two of them."""
    return not _COLUMN_WORDS.sub("", line).strip() and len(_COLUMN_WORDS.findall(line)) >= 2


def markdown_header(columns: Sequence[str]) -> str:
    """The two lines that open a Markdown table whose first column holds labels."""
    return f"| | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}\n"


def _looks_tabular(label: str, cells: Sequence[str]) -> bool:
    if not re.search(r"[A-Za-z]{2}", label) or len(label.split()) > _MAX_LABEL_WORDS:
        return False
    if re.search(r"[.;:]\s|[,;]$|\b(?:of|to|and|or|by|in|the|Item|Note|Part|Section|Page|page|Rule|No\.)$", label):
        return False
    if _MONTH_LAST.search(label):
        return False
    numbers = [cell for cell in cells if re.search(r"\d", cell)]
    if not numbers or all(_YEAR.match(cell) for cell in cells):
        return False
    return len(cells) >= 2 or bool(re.search(r"[$€£%,.()]", cells[0]))


def _mixed(names: Sequence[str]) -> bool:
    """True when some names have a month and others are years alone: then the year of a group was read as a column."""
    return any(_YEAR.match(name) for name in names) and any(_MONTH_FIRST.match(name) for name in names)


def _dated(names: list[str]) -> list[str]:
    """Months and days with the years that stand in the next line: ["Oct 29,", "Oct 30,", "2023", "2022"] is two."""
    days = [name for name in names if _MONTH_DAY.match(name)]
    years = [name for name in names if _YEAR.match(name)]
    if days and len(days) == len(years) and names == days + years:
        return [f"{day} {year}" for day, year in zip(days, years, strict=True)]
    return names
