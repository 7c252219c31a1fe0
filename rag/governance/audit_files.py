"""The files of one chain as its writer has them: the segment of the day, and the spool while that cannot be written."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from rag.errors import StorageUnavailable
from rag.governance.audit_lines import START, chains, parsed, segments

logger = logging.getLogger(__name__)

_TAIL_BYTES: Final = 4 * 1024 * 1024  # of a segment; no line is nearly as long


@dataclass(frozen=True, slots=True)
class Tail:
    """How a chain ends: its last record, and what a killed process left of a line after it."""

    seq: int = -1
    mac: str = START
    torn: bytes = b""
    torn_in: Path | None = None


class AppendedFile:
    """A file that is only added to. What was not wholly written is taken back."""

    def __init__(self, path: Path, length: int | None = None) -> None:
        """`length` is where the file is known to be good, if it is shorter than it is. Raises `OSError`."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self.length = os.fstat(self._descriptor).st_size
            if length is not None and self.length > length:
                os.ftruncate(self._descriptor, length)
                self.length = length
            _sync_folder(path.parent)
        except OSError:
            os.close(self._descriptor)
            raise

    def append(self, content: bytes) -> None:
        """Write and wait until it is on the disk. Raises `OSError`, and then nothing was added."""
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.length)
            raise
        self.length += len(content)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class ChainFiles:
    """Where the lines of one chain go. For one thread at a time."""

    def __init__(
        self, folder: Path, spool: Path, spool_bytes: int, today: Callable[[], date], torn_in: Path | None = None
    ) -> None:
        """`torn_in` is the segment whose last line was left unfinished."""
        self.folder = folder
        self._torn_in = torn_in
        self._spool_path = spool
        self._spool_bytes = spool_bytes
        self._today = today
        self._latest = max((each.stem for each in segments(folder)), default="")
        self._segment: AppendedFile | None = None
        self._spool: AppendedFile | None = None
        self._good: tuple[Path, int] | None = None  # how long a segment is known to be that then failed
        self.spooling = spool.exists()

    def day(self) -> str:
        """The day whose segment is written now: today, or later where the clock was put back since."""
        self._latest = max(self._latest, f"{self._today():%Y-%m-%d}")
        return self._latest

    def append(self, content: bytes) -> None:
        """Keep lines. Raises `OSError` when neither the folder nor the spool takes them; then nothing was kept."""
        if self.spooling:
            self.recover()
        if not self.spooling:
            try:
                self._to_segment(content)
            except OSError as error:
                logger.error("the audit folder %s cannot be written (%s); spooling", self.folder, error)
                self.spooling = True
            else:
                return
        self._to_spool(content)

    def recover(self) -> None:
        """Move what was spooled to where it belongs, if that can be written again."""
        try:
            waiting = self._spool_path.read_bytes() if self._spool_path.is_file() else b""
            # A last line without an end was never acknowledged, so it never was.
            self._to_segment(waiting[: waiting.rfind(b"\n") + 1])
            self._close_spool()
            self._spool_path.unlink(missing_ok=True)
        except OSError:
            return
        logger.warning("the audit folder %s can be written again", self.folder)
        self.spooling = False

    def close(self) -> None:
        """Close what is open."""
        self._close_segment()
        self._close_spool()

    def _to_segment(self, content: bytes) -> None:
        path = self.folder / f"{self.day()}.jsonl"
        if self._segment is None or self._segment.path != path:
            self._close_segment()
            good = self._good[1] if self._good and self._good[0] == path else None
            self._segment = AppendedFile(path, good)
        end_of_torn = b"\n" if path == self._torn_in else b""
        try:
            self._segment.append(end_of_torn + content)
        except OSError:
            self._good = (path, self._segment.length)
            self._close_segment()
            raise
        self._good = self._torn_in = None

    def _to_spool(self, content: bytes) -> None:
        if self._spool is None:
            self._spool = AppendedFile(self._spool_path)
        if self._spool.length + len(content) > self._spool_bytes:
            raise OSError("the spool is full")
        self._spool.append(content)

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _close_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None


def take_chain(folder: Path, spool_dir: Path, key: bytes, new_name: Callable[[], str]) -> tuple[Path, FileLock, Tail]:
    """A chain that no process adds to, locked, and how it ends: an old one that is whole, or a new one.

    Raises `StorageUnavailable`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in [*chains(folder), folder / new_name()]:
            each.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(each / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            spool = spool_dir / f"{each.name}.jsonl"
            tail = tail_of(each, spool, key)
            if tail is not None:
                _keep_only_unmoved(each, spool, key)
                return each, lock, tail
            logger.error("the audit chain %s does not end as it should; run `banksight audit verify`", each.name)
            lock.release()
    except OSError as error:
        raise StorageUnavailable(
            f"the audit trail in {folder} cannot be written ({error.strerror or error}), and nothing is answered "
            "without; make room, give this user the right to write there, or set audit.dir"
        ) from error
    raise StorageUnavailable(f"no audit chain in {folder} can be begun; try again")


def tail_of(chain: Path, spool: Path, key: bytes) -> Tail | None:
    """How a chain ends, with what was spooled; None for one that was changed at its end. Changes nothing."""
    tail = _tail_of_segments(chain, key)
    waiting = _unmoved(spool, tail, key) if tail else None
    if tail is None or waiting is None:
        return None
    if not waiting:
        return tail
    last = parsed(waiting[-1], key)
    return Tail(last[0].seq, last[1], tail.torn, tail.torn_in) if last else None


def _unmoved(spool: Path, tail: Tail, key: bytes) -> list[bytes] | None:
    """The spooled lines that are not in the chain yet; None where they do not follow it."""
    if not spool.is_file():
        return []
    waiting, seq, mac = [], tail.seq, tail.mac
    for line in spool.read_bytes().split(b"\n")[:-1]:
        found = parsed(line, key)
        if found is None:
            return None
        record, own = found
        if record.seq <= tail.seq:
            continue  # was moved, and the process that did it killed before the spool was gone
        if record.seq != seq + 1 or record.prev != mac:
            return None
        seq, mac = record.seq, own
        waiting.append(line)
    return waiting


def _keep_only_unmoved(chain: Path, spool: Path, key: bytes) -> None:
    tail = _tail_of_segments(chain, key)
    if tail is None or not spool.is_file():
        return
    incoming = spool.with_suffix(".incoming")
    incoming.write_bytes(b"".join(line + b"\n" for line in _unmoved(spool, tail, key) or ()))
    incoming.replace(spool)


def _tail_of_segments(chain: Path, key: bytes) -> Tail | None:
    torn, torn_in = b"", None
    for segment in reversed(segments(chain)):
        with segment.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            *whole, rest = file.read(size).split(b"\n")
        if rest and torn_in is None:
            torn, torn_in = rest, segment
        if whole:
            found = parsed(whole[-1], key)
            return Tail(found[0].seq, found[1], torn, torn_in) if found else None
    return Tail(torn=torn, torn_in=torn_in)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
