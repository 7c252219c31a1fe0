"""Rows of JSON Lines and of spreadsheets, each with its file and line, so that an error can name them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rag.errors import ConfigurationError


class DataError(ConfigurationError, ValueError):
    """Evaluation data are not as they must be. The text names file, line and reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """An object with its place."""

    path: Path
    line: int
    values: Mapping[str, Any]

    def refuse(self, reason: str) -> NoReturn:
        """Raise `DataError` for this row."""
        raise DataError(f"{self.path} line {self.line}: {reason}")

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.values.get(name)
        if value is None or not str(value).strip():
            self.refuse(f"{name!r} is missing or empty")
        return str(value)


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl` or `.csv` file. Raises `DataError`; a file without rows is an error too."""
    try:
        rows = list(_spreadsheet(path) if path.suffix.lower() == ".csv" else _json_lines(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not UTF-8 (byte {error.start}); save it as UTF-8 and try again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not rows:
        raise DataError(f"{path}: it holds no rows")
    return rows


def require_unique(rows: list[Row], name: str) -> None:
    """Raise `DataError` for the second row with the same value."""
    seen: dict[str, int] = {}
    for row in rows:
        value = row.text(name)
        if value in seen:
            row.refuse(f"the {name} {value!r} stands in line {seen[value]} already")
        seen[value] = row.line


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path} line {number}: this is not JSON: {error.msg}") from error
            if not isinstance(values, dict):
                raise DataError(f"{path} line {number}: this is not a JSON object")
            yield Row(path, number, values)


def _spreadsheet(path: Path) -> Iterator[Row]:
    """A header and rows, separated by commas, semicolons or tabs, as spreadsheets save them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=head.count)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for values in reader:
                if None in values or None in values.values():
                    raise DataError(f"{path} line {reader.line_num}: it has not as many cells as the header")
                yield Row(path, reader.line_num, values)
        except csv.Error as error:
            raise DataError(f"{path} line {reader.line_num}: {error}") from error
