"""CSV and XLSX: every row a line that names its columns."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from connectors.errors import SourceUnreadable
from connectors.parsing import titles
from connectors.parsing.archive import open_archive, refuse_declarations
from connectors.parsing.document import Draft, PageDraft, ParsingLimits
from connectors.parsing.sections import SECTION_CHARACTERS
from connectors.parsing.tables import table_lines
from connectors.parsing.text import clean, decode

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_LARGEST_FIELD = 2**20  # characters in one cell
_PERCENT = re.compile(r"0(\.(0+))?%")
_MOST_CELLS = 5_000_000  # of a sheet, empty ones included: a stray cell in the last row makes a sheet look full


def parse_csv(content: bytes, limits: ParsingLimits) -> Draft:
    """The rows of a CSV file, whatever its delimiter and encoding; pages are runs of rows."""
    text = decode(content)
    if len(text) > limits.max_characters:
        raise SourceUnreadable("too_large", "The file holds more text than is allowed; split it.")
    text = text.replace("\x00", "")
    csv.field_size_limit(_LARGEST_FIELD)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except csv.Error:
        message = "A cell of the table never ends; check the quotation marks and save the file again."
        raise SourceUnreadable("malformed", message) from None
    return Draft("", _row_pages(rows, ""))


def parse_xlsx(content: bytes, limits: ParsingLimits) -> Draft:
    """The sheets of a workbook with the values that were last computed; a long sheet continues on further pages.

    A formula that no program ever computed has no value and leaves its cell empty. Hidden sheets are read too.
    """
    # Imported here: it takes 150 ms, and CSV does not need it.
    from openpyxl import load_workbook  # noqa: PLC0415

    with open_archive(content, limits.max_characters * 10) as archive:
        refuse_declarations(archive)
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        pages = [page for sheet in book.worksheets for page in _row_pages(_cells(sheet, limits), clean(sheet.title))]
        title = titles.tidy(book.properties.title)
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile):
        message = "The workbook is damaged or incomplete; open it and save it again."
        raise SourceUnreadable("malformed", message) from None
    return Draft(title, pages)


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first rows most evenly into most columns."""
    head = "\n".join(itertools.islice(io.StringIO(text), _SAMPLE_ROWS))

    def evenness(delimiter: str) -> tuple[float, int]:
        try:
            widths = Counter(len(row) for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if row)
        except csv.Error:
            return 0.0, 0
        width, rows = max(widths.items(), key=lambda item: item[1] if item[0] > 1 else 0, default=(1, 0))
        return (rows / widths.total(), width) if width > 1 else (0.0, 0)

    return max(_DELIMITERS, key=evenness)


def _cells(sheet: Any, limits: ParsingLimits) -> Iterator[list[str]]:
    """The rows of a sheet as text. Raises `SourceUnreadable` (too_large)."""
    seen = characters = 0
    for row in sheet.iter_rows():
        cells = [_shown(cell.value, cell.number_format) if cell.value is not None else "" for cell in row]
        seen += max(1, len(cells))
        characters += sum(map(len, cells))
        if seen > _MOST_CELLS or characters > limits.max_characters:
            raise SourceUnreadable("too_large", "A sheet of the workbook is too large; split it or delete empty rows.")
        yield cells


def _shown(value: object, number_format: str | None) -> str:
    """A cell's value as its sheet shows it, as far as that changes its meaning: dates, percentages, whole numbers."""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (date, time, timedelta)):
        return str(value)
    if isinstance(value, (int, float)):
        percent = _PERCENT.search(number_format or "")
        if percent and math.isfinite(value):
            return f"{value * 100:.{len(percent[2] or '')}f}%"
        return f"{value:.15g}"
    return str(value)


def _row_pages(rows: Iterable[Sequence[str]], name: str) -> list[PageDraft]:
    """Pages of whole rows. The label is the sheet's name; of several pages, each says which rows it holds."""
    runs: list[list[tuple[int, str]]] = [[]]
    length = 0
    for number, line in table_lines(rows):
        text = clean(line)
        if length + len(text) > SECTION_CHARACTERS and runs[-1]:
            runs.append([])
            length = 0
        runs[-1].append((number, text))
        length += len(text) + 1
    return [_row_page(run, name, whole=len(runs) == 1) for run in runs]


def _row_page(run: list[tuple[int, str]], name: str, *, whole: bool) -> PageDraft:
    text = "\n".join(line for _, line in run)
    if whole:
        return PageDraft(text, name)
    span = f"rows {run[0][0]}–{run[-1][0]}"
    return PageDraft(text, f"{name}, {span}" if name else span)
