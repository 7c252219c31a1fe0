"""Finding the records of a receipt, and deleting segments that are older than they must be kept."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rag.errors import NotFound
from rag.governance.audit_lines import PRUNED, RECEIPT_ID, Record, chains, lines_of, parsed, segments
from rag.governance.audit_writer import AuditWriter, Places


def records_of(receipt_id: str, places: Places, key: bytes) -> list[Record]:
    """The records of a receipt that pass their check, in order. Raises `NotFound`."""
    found: dict[int, Record] = {}
    if re.fullmatch(RECEIPT_ID, receipt_id):
        for path in _candidates(receipt_id, places):
            for line in _lines_with(path, receipt_id.encode()):
                read = parsed(line, key)
                if read and read[0].id == receipt_id:
                    found[read[0].seq] = read[0]
    if not found:
        raise NotFound(f"there is no receipt {receipt_id!r} here; it may be older than audit.keep_days, or another's")
    return [found[seq] for seq in sorted(found)]


def prune(places: Places, writer: AuditWriter, keep_days: int, today: date | None = None) -> list[Path]:
    """Delete whole days that are older, but never the last one of a chain. Returns what is gone.

    That they are to go is recorded first, with where each chain goes on. Raises `StorageUnavailable`, `OSError`.
    """
    oldest = (today or datetime.now(UTC).date()) - timedelta(days=keep_days)
    gone: list[Path] = []
    starts: dict[str, dict[str, object]] = {}
    for chain in chains(places.folder):
        files = segments(chain)
        old = [each for each in files[:-1] if date.fromisoformat(each.stem) < oldest]
        first = _first_record(files[len(old) :], writer.key)
        if first and first.seq > 0:
            starts[chain.name] = {"seq": first.seq - 1, "mac": first.prev}
            gone += old
    if gone:
        writer.append(PRUNED, "", {"chains": starts, "segments": len(gone), "before": oldest.isoformat()}).result()
        for each in gone:
            each.unlink()
    for anchor in places.anchor_dir.glob("*.json"):
        if anchor.name < f"{oldest:%Y%m%d}":
            with suppress(OSError):  # where storage can only be added to, it stays
                anchor.unlink()
    return gone


def _first_record(files: list[Path], key: bytes) -> Record | None:
    for path in files:
        for _, line, _ in lines_of(path):
            read = parsed(line, key)
            if read:
                return read[0]
    return None


def _candidates(receipt_id: str, places: Places) -> Iterator[Path]:
    """Where its records may be: the day of its id, the day after, and what waits."""
    chain, day, _ = receipt_id.split("-")
    with suppress(ValueError):
        first = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
        for each in (first, first + timedelta(days=1)):
            yield places.folder / chain / f"{each:%Y-%m-%d}.jsonl"
        yield places.spool_dir / f"{chain}.jsonl"


def _lines_with(path: Path, needle: bytes) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(needle)
            while at >= 0:
                end = content.find(b"\n", at)
                if end < 0:
                    return
                yield content[content.rfind(b"\n", 0, at) + 1 : end]
                at = content.find(needle, end)
