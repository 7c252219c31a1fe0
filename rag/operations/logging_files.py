"""A file of log lines for each day, written by all processes of a machine together.

The name holds the day (UTC), so nobody renames a file under the others, as rotating handlers of the standard library
do. A line is one `write` to a file opened for appending, which Linux does not mix with those of other processes.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from rag.errors import ConfigurationError

_NAME: Final = re.compile(r"banksight-(\d{4}-\d{2}-\d{2})\.jsonl")


def _today() -> date:
    return datetime.now(UTC).date()


class DailyFile(logging.Handler):
    """Appends to `banksight-<day>.jsonl`. On the first line of a day, files older than `keep_days` days are deleted."""

    def __init__(self, folder: Path, keep_days: int, today: Callable[[], date] = _today) -> None:
        """Raises `ConfigurationError` when the folder cannot be written."""
        super().__init__()
        self._folder = folder
        self._keep = timedelta(days=keep_days)
        self._today = today
        self._day: date | None = None
        self._descriptor = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._begin(today())
        except OSError as error:
            raise ConfigurationError(
                f"the folder of logs {folder} cannot be written ({error.strerror or error}); "
                "give this user the right to write there, or set logging.dir to another folder"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`, which calls it one thread at a time."""
        try:
            if (day := self._today()) != self._day:
                self._begin(day)
            os.write(self._descriptor, f"{self.format(record)}\n".encode())
        except Exception:  # noqa: BLE001 - a full disk must not end a request
            self.handleError(record)

    def close(self) -> None:
        """See `logging.Handler`."""
        self.acquire()
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor, self._day = -1, None
        finally:
            self.release()
        super().close()

    def _begin(self, day: date) -> None:
        opened = os.open(
            self._folder / f"banksight-{day}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
        )
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._day = opened, day
        for path in self._folder.iterdir():
            if (written := _day_of(path)) is not None and day - written > self._keep:
                path.unlink(missing_ok=True)  # another process does the same at this moment


def _day_of(path: Path) -> date | None:
    """The day in the name of a file of ours; None for everything else, which is not ours to delete."""
    match = _NAME.fullmatch(path.name)
    try:
        return date.fromisoformat(match[1]) if match and path.is_file() else None
    except ValueError:
        return None
