"""A copy of everything that cannot be made anew, of one moment, while questions are answered.

Whoever ingests, deletes or repairs waits; the lock is held for the copy only, not for encryption and transfer.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from rag.domain import Document, IngestReport, Principal, SearchFilter
from rag.errors import Busy, StorageUnavailable
from rag.governance.identity import local_principal
from rag.ingestion.identity import index_identity
from rag.ingestion.job_queue import JobQueue
from rag.operations.backup_manifest import Facts, Manifest, Question, digest_of_pairs, file_digest, read_manifest, seal
from rag.operations.logging_secrets import without_url_passwords
from rag.storage.copying import copy_sqlite
from rag.storage.database import schema_revisions
from rag.storage.lease import WRITER

if TYPE_CHECKING:
    from rag.bootstrap import Workspace
    from rag.settings import Settings

_PATIENCE_SECONDS: Final = 2.0
_CERTAIN: Final = 3  # a golden question counts when its chunk is among the first so many; later it may slip to _FOUND
_FOUND: Final = 8
_QUESTION_CHARACTERS: Final = 200
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


def place_of_snapshot(settings: Settings) -> Path:
    """Where the copy is made: on the disk of the originals, so that they are linked and not copied.

    All machines see it, so whoever saves the copy need not be where it was made.
    """
    return settings.files_dir / "backup" / "snapshot"


def take_snapshot(workspace: Workspace, job_id: str = "") -> Manifest:
    """Copy the corpus into `place_of_snapshot`, in place of the copy before. Raises `Busy` during an ingestion.

    A process that only reads has the worker do it, for which that is the job `job_id`.
    """
    folder = place_of_snapshot(workspace.settings)
    if workspace.requests:
        return snapshot_by_worker(workspace.requests, workspace.settings, _PATIENCE_SECONDS)
    if not workspace.writing.acquire(timeout=_PATIENCE_SECONDS):
        raise Busy("documents are being ingested now; try again when that has ended", retry_after=10)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        return _copy(workspace, folder, job_id)
    except OSError as error:
        raise StorageUnavailable(f"the backup could not be copied to {folder}: {error}; check the disk") from error
    finally:
        workspace.writing.release()


def snapshot_by_worker(worker: JobQueue, settings: Settings, seconds: float) -> Manifest:
    """Have the worker take it. Raises `Busy` when it has not begun in `seconds`, `BankSightError` when it fails."""
    asks = local_principal(settings)
    worker.do_soon("snapshot", None, subject=asks.subject, tenant=asks.tenant, seconds=seconds)
    return read_manifest(place_of_snapshot(settings))


def snapshot_asked_for(workspace: Workspace, job_id: str) -> IngestReport:
    """Do the job of `snapshot_by_worker` in another process."""
    started = time.monotonic()
    facts = take_snapshot(workspace, job_id).facts
    return IngestReport((), facts.snapshot, time.monotonic() - started, 0, 0, 0)


def _copy(workspace: Workspace, folder: Path, job_id: str) -> Manifest:
    settings, stores = workspace.settings, workspace.stores
    stores.registry.copy_to(folder / "registry.sqlite3")
    _forget_the_process(folder / "registry.sqlite3", job_id)
    (folder / "vectors").mkdir()
    for scope, ids, rows, metadatas in stores.vectors.records():
        np.save(folder / "vectors" / f"{scope}.npy", rows, allow_pickle=False)
        (folder / "vectors" / f"{scope}.json").write_text(json.dumps({"ids": ids, "metadatas": metadatas}))
    _link_originals(stores.registry.content_hashes(), settings.files_dir, folder)
    for name in settings.backup.folders:
        place = settings.files_dir if name == "uploads" else settings.data_dir
        _copy_folder(place / name, folder / name)
    # Secrets are SecretStr, which JSON shows as stars; URLs may hold passwords besides.
    (folder / "configuration.json").write_text(without_url_passwords(settings.model_dump_json(indent=2)))
    pairs = stores.registry.chunk_pairs()
    facts = Facts(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        app_version=version("banksight"),
        schema_revision=schema_revisions()[0],
        tenant=settings.tenant,
        identity=index_identity(workspace.embedding.fingerprint, settings.splitting),
        snapshot=stores.registry.snapshot(),
        documents=len(stores.registry.indexed()),
        chunks=len(pairs),
        chunks_digest=digest_of_pairs(pairs),
        questions=tuple(_golden_questions(workspace, settings.backup.questions)),
    )
    return seal(folder, facts)


def _forget_the_process(registry: Path, job_id: str) -> None:
    """Who writes now and the job of this copy are of this moment: restored, they would be waited for and done again."""
    with closing(sqlite3.connect(registry)) as copy, copy:
        copy.execute("DELETE FROM state WHERE key = ?", (WRITER,))
        copy.execute("DELETE FROM jobs WHERE id = ?", (job_id,))


def _link_originals(content_hashes: set[str], files_dir: Path, folder: Path) -> None:
    """Originals never change, so a link is a copy; each is read once, to be sure that it is what its name says."""
    for content_hash in sorted(content_hashes - {""}):
        source = files_dir / "originals" / content_hash[:2] / content_hash
        if not source.is_file() or file_digest(source) != content_hash:
            raise StorageUnavailable(
                f"the original {content_hash[:12]} is lost or damaged, so there would be no whole backup; run "
                "`banksight index check --repair`, then `banksight ingest`"
            )
        target = folder / "originals" / content_hash[:2] / content_hash
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # another disk, or one without links
            shutil.copy2(source, target)


def _copy_folder(source: Path, target: Path) -> None:
    """Files as they are now; databases of SQLite of one moment each."""
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.name.endswith(_SIDE_FILES) or path.name.startswith(".incoming"):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".sqlite3", ".sqlite", ".db"):
            copy_sqlite(path, copy)
        else:
            shutil.copy2(path, copy)


def _golden_questions(workspace: Workspace, most: int) -> list[Question]:
    """Questions in the words of documents spread over the corpus, that find now where the words stand."""
    registry = workspace.registry
    documents = [document for document, _ in registry.indexed()]
    step = max(1, len(documents) // most) if most else 1
    asked = []
    for document in documents[::step][:most]:
        chunk_id = min(registry.chunk_ids(document.id), default="")
        if chunk_id:
            text = registry.passages([chunk_id])[chunk_id].text
            question = Question(
                _opening(text), chunk_id, document.tenant, tuple(sorted(document.access)), _day(document)
            )
            if finds(workspace, question, _CERTAIN):
                asked.append(question)
    return asked


def finds(workspace: Workspace, question: Question, among: int = _FOUND) -> bool:
    """Whether the chunk of a golden question is among the first that are found."""
    asks = Principal("backup", question.tenant, clearances=frozenset(question.access))
    narrow = SearchFilter(as_of=date.fromisoformat(question.as_of) if question.as_of else None)
    found = workspace.searcher.search(question.text, asks, narrow, among)
    return question.chunk_id in {passage.chunk_id for passage in found}


def _opening(text: str) -> str:
    return " ".join(text.split())[:_QUESTION_CHARACTERS]


def _day(document: Document) -> str | None:
    """A day on which the document is in force."""
    day = document.effective_from or document.effective_to
    return day.isoformat() if day else None
