"""How a pull is shown: a bar with rate and time left on a terminal, a line per file in a log."""

from __future__ import annotations

import sys
from types import TracebackType

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rag.models.manifest import PinnedFile


class PullProgress:
    """Everything goes to standard error, so that standard output holds results only."""

    def __init__(self, model: str) -> None:
        self._model = model
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._bar = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
        self._task: TaskID | None = None
        self._last = ""

    def __enter__(self) -> PullProgress:
        if sys.stderr.isatty():
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def waiting(self) -> None:
        """See `rag.models.pulling.Watch`."""
        click.echo(f"another process pulls {self._model}; waiting for it", err=True)

    def begin(self, files: tuple[PinnedFile, ...], present: int) -> None:
        """See `rag.models.pulling.Watch`."""
        total = sum(file.size or 0 for file in files)
        self._task = self._bar.add_task(self._model, total=total, completed=present)
        if present:
            click.echo(f"{self._model}: {present:,} bytes are here already", err=True)

    def advance(self, file: PinnedFile, count: int) -> None:
        """See `rag.models.pulling.Watch`."""
        if self._task is not None:
            self._bar.update(self._task, advance=count, description=file.name)
        if file.name != self._last and not self._bar.live.is_started:
            click.echo(f"{self._model}: {file.name}", err=True)
        self._last = file.name
