"""Backups, told once: snapshot, save, prove; and how long it takes to come back."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from rag.errors import Busy
from rag.operations.backup_manifest import read_manifest
from rag.operations.backup_recovery import Open, Progress, Proof, newest_age_seconds, proved, put_in_place
from rag.operations.backup_repository import BackupRepository
from rag.operations.backup_snapshot import place_of_snapshot
from rag.operations.recorded import BACKED_UP, DRILL_SECONDS, DRILLED, record, recorded

if TYPE_CHECKING:
    from rag.settings import Settings

PROMISED_SECONDS: Final = 30 * 60  # to bring a damaged index back: the bank's recovery objectives
_RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place. `kept` are the folders with what was there before; none where nothing was."""

    proof: Proof
    seconds: float
    kept: tuple[Path, ...]


def create(
    settings: Settings, snapshot: Callable[[], object], progress: Progress, share: Callable[[float], None]
) -> str:
    """Save a snapshot of the corpus; returns the id. `snapshot` makes it, here or in the process that owns the folder.

    Raises `Busy` when an ingestion does not end within `backup.wait_seconds`, or while another backup is made.
    """
    repository = BackupRepository(settings.backup, settings.root)
    with _alone(settings):
        repository.prepare()
        progress("Copying the corpus")
        folder = place_of_snapshot(settings)
        try:
            _patiently(snapshot, settings.backup.wait_seconds, progress)
            facts = read_manifest(folder).facts
            progress("Saving")
            told = {"documents": str(facts.documents), "chunks": str(facts.chunks), "version": facts.app_version}
            return repository.save(folder, told, share)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def verify(settings: Settings, backup_id: str, open_it: Open, progress: Progress) -> Proof:
    """Restore a backup beside everything live and compare all of it; that it is proved is recorded for metrics."""
    repository = BackupRepository(settings.backup, settings.root)
    saved = repository.find(backup_id)
    with proved(saved.id, repository, settings, open_it, progress) as (proof, _):
        made = time.time() - newest_age_seconds(saved)
    _proved(settings).write_text(saved.id, encoding="ascii")
    record(settings.files_dir, BACKED_UP, max(made, recorded(settings.files_dir).get(BACKED_UP, 0.0)))
    return proof


def prune(settings: Settings, keep_days: int, open_it: Open, progress: Progress) -> int:
    """Delete backups that are so many days older than the newest, which stays; returns how many.

    The newest must have proved whole, or does now: nothing is deleted when `verify` raises. So a good one always stays.
    """
    repository = BackupRepository(settings.backup, settings.root)
    newest = repository.find("latest").id
    if not _proved(settings).is_file() or _proved(settings).read_text(encoding="ascii") != newest:
        verify(settings, newest, open_it, progress)
    progress("Deleting")
    return repository.forget(keep_days)


def restore(settings: Settings, backup_id: str, open_it: Open, progress: Progress, *, replace: bool) -> Restored:
    """Prove a backup, then make it the live corpus. Nothing was changed when this raises before the last step."""
    started = time.monotonic()
    repository = BackupRepository(settings.backup, settings.root)
    with proved(backup_id, repository, settings, open_it, progress) as (proof, folder):
        progress("Putting it in place")
        kept = put_in_place(folder, settings, replace=replace)
    return Restored(proof, time.monotonic() - started, kept)


def drill(settings: Settings, backup_id: str, open_it: Open, progress: Progress) -> tuple[dict[str, Any], Path]:
    """Restore beside what is live, against the clock. Returns the certificate, and the file that keeps it."""
    repository = BackupRepository(settings.backup, settings.root)
    saved = repository.find(backup_id)
    age = newest_age_seconds(saved)
    with proved(saved.id, repository, settings, open_it, progress) as (proof, _):
        pass
    facts = {name: value for name, value in asdict(proof.facts).items() if name != "questions"}
    certificate = {
        "drilled_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "backup": saved.id,
        "backup_age_seconds": round(age, 1),
        "corpus": facts,
        "golden_questions": {"asked": proof.questions, "found": proof.questions},
        "seconds": {
            "reading_the_repository": round(proof.checking, 2),
            "fetching": round(proof.fetching, 2),
            "building_and_asking": round(proof.building, 2),
            "recovery": round(proof.seconds, 2),
        },
        "promised_seconds": PROMISED_SECONDS,
        "kept_promise": proof.seconds <= PROMISED_SECONDS,
        "software": f"BankSight {version('banksight')}, Python {platform.python_version()}, {platform.machine()}",
    }
    folder = settings.files_dir / "backup" / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"drill-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(certificate, indent=2) + "\n", encoding="utf-8")
    record(settings.files_dir, DRILLED, time.time())
    record(settings.files_dir, DRILL_SECONDS, proof.seconds)
    return certificate, path


def _proved(settings: Settings) -> Path:
    """The file with the id of the backup that proved whole last."""
    folder = settings.files_dir / "backup"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "proved"


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """There is one place for the copy. Raises `Busy`."""
    folder = settings.files_dir / "backup"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "create.lock", timeout=0):
            yield
    except Timeout as error:
        raise Busy("another backup is being made now; wait until that has ended", retry_after=60) from error


def _patiently(snapshot: Callable[[], object], seconds: float, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            snapshot()
        except Busy:
            if time.monotonic() >= until:
                raise
            progress("Waiting until an ingestion has ended")
            time.sleep(min(_RETRY_SECONDS, max(0.0, until - time.monotonic())))
        else:
            return
