"""One process adds to its own chain: lines that come together are written and synced together."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rag.errors import StorageUnavailable
from rag.governance.audit_anchors import Head, anchor_name, write_anchor
from rag.governance.audit_files import ChainFiles, take_chain
from rag.governance.audit_lines import SEALED, AuditKeys, Kind, Record, digest, line_of, new_receipt_id
from rag.settings import Settings

logger = logging.getLogger(__name__)

_MOST_LINES: Final = 512  # of one write
_LOOK_EVERY_SECONDS: Final = 1.0  # whether the folder can be written again, or an anchor is due
_CLOSED: Final = "the audit trail is closed, and nothing is answered without; try again in a moment"
_FULL: Final = (
    "what is answered cannot be recorded, so nothing is: neither the audit folder nor its spool can be written; "
    "make room on the disk, or look at audit.dir and audit.spool_dir"
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a trail is kept."""

    folder: Path
    spool_dir: Path
    spool_bytes: int
    anchor_dir: Path
    anchor_seconds: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    kind: str
    who: str
    body: dict[str, Any]
    id: str
    written: Future[str]


class AuditWriter:
    """Adds records to a chain that no other process has. Thread-safe; close it at the end."""

    def __init__(
        self, places: Places, keys: AuditKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Raises `StorageUnavailable` when the folder cannot be written."""
        self.places = places
        self.key = keys.chain
        self._keys = keys
        self._now = now
        folder, self._lock, tail = take_chain(places.folder, places.spool_dir, keys.chain, lambda: secrets.token_hex(4))
        self.chain = folder.name
        self._head = Head(tail.seq, tail.mac)
        self._anchored = tail.seq
        self._anchored_at = time.monotonic()
        self._files = ChainFiles(
            folder,
            places.spool_dir / f"{self.chain}.jsonl",
            places.spool_bytes,
            lambda: now().date(),
            tail.torn_in,
        )
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()
        if tail.torn_in is not None:
            self.append(SEALED, "", {"torn_sha256": digest(tail.torn), "bytes": len(tail.torn)}).result()

    def new_id(self) -> str:
        """The id of a receipt whose records will be in this chain."""
        return new_receipt_id(self.chain, self._files.day())

    def append(self, kind: Kind, who: str, body: dict[str, Any], receipt_id: str = "") -> Future[str]:
        """The receipt's id, once the record is on the disk. The future raises `StorageUnavailable` when it cannot be.

        `body` holds JSON values. Records of one thing share a receipt.
        """
        written: Future[str] = Future()
        written.set_running_or_notify_cancel()  # what happened is recorded, even if nobody waits any more
        with self._closing:
            if self._closed:
                written.set_exception(StorageUnavailable(_CLOSED))
            else:
                self._queue.put(_Waiting(kind, who, body, receipt_id or self.new_id(), written))
        return written

    def close(self) -> None:
        """Write what waits, sign the head and give the chain back."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._anchor()
        self._files.close()
        self._lock.release()

    def _work(self) -> None:
        going = True
        while going:
            batch: list[_Waiting] = []
            try:
                each = self._queue.get(timeout=_LOOK_EVERY_SECONDS)
                while True:
                    if each is None:
                        going = False
                        break
                    batch.append(each)
                    if len(batch) == _MOST_LINES:
                        break
                    each = self._queue.get_nowait()
            except queue.Empty:
                pass
            if batch:
                self._write(batch)
            elif self._files.spooling:
                self._files.recover()
            if time.monotonic() - self._anchored_at > self.places.anchor_seconds:
                self._anchor()

    def _write(self, batch: list[_Waiting]) -> None:
        """Keep these lines, or none of them."""
        head, lines, kept = self._head, [], []
        for each in batch:
            at = self._now().isoformat(timespec="milliseconds")
            record = Record(self.chain, head.seq + 1, each.id, at, each.kind, each.who, head.mac, each.body)
            try:
                line, mac = line_of(record, self._keys.chain)
            except Exception as error:  # noqa: BLE001 - one that cannot be written must not take others with it
                each.written.set_exception(error)
                continue
            head = Head(record.seq, mac)
            lines.append(line)
            kept.append(each)
        try:
            self._files.append(b"".join(lines))
        except OSError as error:
            logger.error("the audit trail cannot be written: %s", error)
            for each in kept:
                each.written.set_exception(StorageUnavailable(_FULL))
            return
        self._head = head
        for each in kept:
            each.written.set_result(each.id)

    def _anchor(self) -> None:
        self._anchored_at = time.monotonic()
        if self._head.seq == self._anchored:
            return
        try:
            path = self.places.anchor_dir / anchor_name(self.chain, self._head)
            write_anchor(path, {self.chain: self._head}, self._keys)
        except OSError as error:
            logger.error("the head of the audit chain cannot be written to %s: %s", self.places.anchor_dir, error)
            return
        self._anchored = self._head.seq


def places_of(settings: Settings) -> Places:
    """Where these settings keep the trail."""
    audit = settings.audit
    return Places(
        settings.audit_dir,
        settings.audit_spool_dir,
        audit.spool_bytes,
        settings.anchor_dir,
        audit.anchor_minutes * 60,
    )
