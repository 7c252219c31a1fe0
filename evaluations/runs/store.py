"""Where runs are kept: an index in SQLite, and for each run a folder with files that only grow.

    FOLDER/index.sqlite
    FOLDER/<run>/suite.json          the suite as it was
    FOLDER/<run>/items.jsonl         one line an item, written and synced as soon as it was produced
    FOLDER/<run>/scores-0001.jsonl   one file each time the run was scored; the last one counts

A line is a checksum, a blank and JSON. A last line that power loss tore is dropped and its item produced again; a
damaged line anywhere else is an error, because somebody changed the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from evaluations.runs.records import Fingerprints, ItemRecord, ItemScores, RunInfo, RunState
from rag.errors import Busy, ConfigurationError, NotFound

_Row = TypeVar("_Row")
_SCHEMA = "CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, suite TEXT, started TEXT, state TEXT, info TEXT)"


class _Form(Generic[_Row]):
    """Rows of one type to lines and back."""

    def __init__(self, row_type: type[_Row]) -> None:
        self._adapter = TypeAdapter(row_type)

    def line(self, row: _Row) -> bytes:
        """The line of a row, with its end."""
        content = self._adapter.dump_json(row)
        return b"%08x %s\n" % (zlib.crc32(content), content)

    def rows(self, path: Path) -> tuple[list[_Row], int]:
        """All whole rows, and the bytes that they take. Raises `ConfigurationError` for a damaged line."""
        content = path.read_bytes() if path.exists() else b""
        rows: list[_Row] = []
        end = 0
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            row = self._row(line)
            if row is None:
                if end + len(line) == len(content):
                    break  # torn by power loss: it was never whole
                raise ConfigurationError(
                    f"line {number} of {path} is damaged, so this run cannot be trusted; run the suite again"
                )
            rows.append(row)
            end += len(line)
        return rows, end

    def _row(self, line: bytes) -> _Row | None:
        digest, _, content = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or digest != b"%08x" % zlib.crc32(content):
            return None
        with contextlib.suppress(ValidationError):
            return self._adapter.validate_json(content)
        return None


_ITEMS, _SCORES, _INFO = _Form(ItemRecord), _Form(ItemScores), TypeAdapter(RunInfo)


class RunStore:
    """All runs below a folder. One process at a time writes a run; any number may read."""

    def __init__(self, folder: Path, index: sqlite3.Connection) -> None:
        self._folder, self._index = folder, index
        self._locks: dict[str, FileLock] = {}

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """The store in this folder, made when there is none. Raises `ConfigurationError`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            index = sqlite3.connect(folder / "index.sqlite", isolation_level=None, check_same_thread=False)
            index.execute("PRAGMA synchronous = FULL")
            index.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the folder of runs {folder} cannot be used: {error}") from error
        return cls(folder, index)

    def close(self) -> None:
        """Give all runs back and close the index."""
        for run_id in list(self._locks):
            self.release(run_id)
        self._index.close()

    def create(
        self, suite: str, fingerprints: Fingerprints, target: str, planned: int, left_out: tuple[str, ...] = ()
    ) -> RunInfo:
        """A new run, running, that this process may write."""
        started = datetime.now(UTC)
        run_id = f"{suite}-{started:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        began = started.isoformat(timespec="milliseconds")
        info = RunInfo(run_id, suite, fingerprints, target, planned, began, left_out=left_out)
        (self._folder / run_id).mkdir()
        self._take(run_id)
        self._write(info)
        return info

    def resume(self, run_id: str) -> RunInfo:
        """A run that was cut, running again; a torn last line is dropped. Raises `NotFound` or `Busy`."""
        info = self.run(run_id)
        self._take(run_id)
        path = self._items_path(run_id)
        if path.exists():
            _, end = _ITEMS.rows(path)
            os.truncate(path, end)
        info = replace(info, state="running", finished="")
        self._write(info)
        return info

    def finish(self, run_id: str, state: RunState) -> RunInfo:
        """Mark how a run ended, and give it back."""
        info = replace(self.run(run_id), state=state, finished=datetime.now(UTC).isoformat(timespec="milliseconds"))
        self._write(info)
        self.release(run_id)
        return info

    def release(self, run_id: str) -> None:
        """Let other processes write the run."""
        if lock := self._locks.pop(run_id, None):
            lock.release()

    def append_item(self, run_id: str, record: ItemRecord) -> None:
        """Add an item, on disk when this returns. A later record of the same item and repeat replaces it."""
        self.append_items(run_id, [record])

    def append_items(self, run_id: str, records: Iterable[ItemRecord]) -> None:
        """Add several items with one sync."""
        _append(self._items_path(run_id), b"".join(_ITEMS.line(record) for record in records))

    def put_scores(self, run_id: str, scores: Iterable[ItemScores]) -> None:
        """Keep a whole scoring beside the earlier ones; it counts only once all of it is on disk."""
        folder = self._folder / run_id
        number = len(list(folder.glob("scores-*.jsonl"))) + 1
        path, unfinished = folder / f"scores-{number:04}.jsonl", folder / "scores.unfinished"
        unfinished.unlink(missing_ok=True)
        _append(unfinished, b"".join(_SCORES.line(each) for each in scores))
        unfinished.rename(path)

    def keep_suite(self, run_id: str, suite: str) -> None:
        """Keep what the suite said when the run was made: its file may change, and may be an analyst's own."""
        _append(self._folder / run_id / "suite.json", suite.encode())

    def suite(self, run_id: str) -> str:
        """What `keep_suite` was given; empty for a run that no suite made."""
        path = self._folder / self.run(run_id).id / "suite.json"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def items(self, run_id: str) -> list[ItemRecord]:
        """The latest record of every item and repeat, in the order in which they were first produced."""
        self.run(run_id)
        rows, _ = _ITEMS.rows(self._items_path(run_id))
        return list({(row.item, row.repeat): row for row in rows}.values())

    def scores(self, run_id: str) -> list[ItemScores]:
        """The last scoring; empty when the run was not scored."""
        self.run(run_id)
        files = sorted((self._folder / run_id).glob("scores-*.jsonl"))
        return _SCORES.rows(files[-1])[0] if files else []

    def runs(self, suite: str | None = None) -> list[RunInfo]:
        """All runs, or those of one suite, oldest first."""
        return [info for info in self._infos() if suite in {None, info.suite}]

    def run(self, run_id: str) -> RunInfo:
        """One run by its id or by an unambiguous beginning of it. Raises `NotFound`."""
        found = [info for info in self._infos() if info.id == run_id] or [
            info for info in self._infos() if info.id.startswith(run_id)
        ]
        if len(found) != 1:
            how = "no run" if not found else f"{len(found)} runs"
            raise NotFound(f"there is {how} named {run_id!r}; `banksight evaluate list` shows those there are")
        return found[0]

    def _infos(self) -> Iterator[RunInfo]:
        rows = self._index.execute("SELECT info FROM runs ORDER BY started, id").fetchall()
        return (_INFO.validate_json(row[0]) for row in rows)

    def _write(self, info: RunInfo) -> None:
        row = (info.id, info.suite, info.started, info.state, _INFO.dump_json(info).decode())
        self._index.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)

    def _items_path(self, run_id: str) -> Path:
        return self._folder / run_id / "items.jsonl"

    def _take(self, run_id: str) -> None:
        lock = FileLock(self._folder / run_id / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise Busy(f"another process writes the run {run_id} now; wait until it has ended") from error
        self._locks[run_id] = lock


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
