"""From a backup to a corpus that answers: built beside everything that is live, proved, and only then put in place."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from rag.errors import BackupRejected, ConfigurationError, StorageUnavailable
from rag.operations.backup_manifest import Facts, Manifest, digest_of_pairs, require_usable
from rag.operations.backup_repository import BackupRepository, Saved
from rag.operations.backup_snapshot import finds
from rag.storage.database import open_database
from rag.storage.lease import WriterLease
from rag.storage.ownership import Ownership
from rag.storage.registry import Registry
from rag.storage.vectors import VectorIndex

if TYPE_CHECKING:
    from rag.bootstrap import Workspace
    from rag.settings import Settings

Open = Callable[["Settings"], AbstractContextManager["Workspace"]]
Progress = Callable[[str], None]

_REGISTRY: Final = "registry.sqlite3"
_CORPUS: Final = "corpus"  # in the scratch folder: the data folder that is built from the backup
_OF_CORPUS: Final = ("chroma", "lexical", "originals", _REGISTRY)
_OF_ALL_MACHINES: Final = ("originals", "uploads")  # in the folder of files; everything else is in the data folder


@dataclass(frozen=True, slots=True)
class Proof:
    """A backup that was restored beside the live one and found whole. Times in seconds."""

    backup: str
    facts: Facts
    questions: int
    checking: float
    fetching: float
    building: float

    @property
    def seconds(self) -> float:
        """From the wish to restore to a corpus that answers; reading the whole repository first does not count."""
        return self.fetching + self.building


@contextmanager
def proved(
    backup_id: str, repository: BackupRepository, settings: Settings, open_it: Open, progress: Progress
) -> Iterator[tuple[Proof, Path]]:
    """The backup as a data folder of its own, with the proof that it is whole; gone at the end.

    Every byte of the repository, every file's digest, ids, counts and golden questions are compared. Raises
    `BackupRejected`, and `IndexMismatch` when this installation has another encoder.
    """
    saved = repository.find(backup_id)
    place = settings.data_dir / "backup"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restored-", dir=place) as name:
        scratch, started = Path(name), time.monotonic()
        progress("Reading every byte of the repository")
        repository.require_whole()
        checked = time.monotonic()
        progress("Fetching the backup")
        repository.fetch(saved.id, scratch)
        manifest = require_usable(scratch, settings.tenant)
        fetched = time.monotonic()
        progress("Building the index and asking golden questions")
        _build(scratch, manifest, settings, open_it)
        ended = time.monotonic()
        times = checked - started, fetched - checked, ended - fetched
        yield Proof(saved.id, manifest.facts, len(manifest.facts.questions), *times), scratch


def newest_age_seconds(saved: Saved) -> float:
    """How much work would be lost if everything else were: the age of a backup."""
    return (datetime.now(UTC) - datetime.fromisoformat(saved.created_at[:19] + "+00:00")).total_seconds()


def put_in_place(scratch: Path, settings: Settings, *, replace: bool) -> tuple[Path, ...]:
    """Make a proved backup the live corpus. Returns the folders that keep what it replaced, if it replaced something.

    The registry comes last, and nothing counts that it does not list: killed before, the place is as good as empty.
    Raises `ConfigurationError` for a place that holds documents, unless told to `replace`, `DataFolderInUse`, and
    `Busy` while a worker writes, on whatever machine.
    """
    with ExitStack() as ends:
        ends.callback(Ownership(settings.data_dir).release)
        if settings.ingestion.serving == "worker":
            database = open_database(settings.database_url)
            ends.callback(database.dispose)
            ends.callback(WriterLease(database, settings.data_dir).release)
        return _put_in_place(scratch, settings, replace)


def _put_in_place(scratch: Path, settings: Settings, replace: bool) -> tuple[Path, ...]:  # noqa: FBT001
    try:
        # The corpus was opened, which left files of its own beside these; other folders are as they were saved.
        parts = [scratch / _CORPUS / name for name in _OF_CORPUS] + [scratch / name for name in settings.backup.folders]
        parts = [path for path in parts if path.exists()]
        kept = _make_room([path.name for path in parts], settings, replace)
        for path in parts:
            if path.name != _REGISTRY and not (path.name == "chroma" and settings.storage.chroma == "server"):
                shutil.move(path, _home(path.name, settings) / path.name)
        if settings.storage.chroma == "server":
            _fill_server(scratch, settings, replace)
        if settings.storage.database_url:
            _fill_database(scratch / _CORPUS / _REGISTRY, settings.database_url)
        else:
            (scratch / _CORPUS / _REGISTRY).replace(settings.data_dir / _REGISTRY)
    except OSError as error:
        raise StorageUnavailable(f"the backup could not be put in place: {error}; check the disk") from error
    return kept


def _home(name: str, settings: Settings) -> Path:
    return settings.files_dir if name in _OF_ALL_MACHINES else settings.data_dir


def _build(scratch: Path, manifest: Manifest, settings: Settings, open_it: Open) -> None:
    """Vectors from their files, the lexical index from the registry; then every comparison there is."""
    corpus = scratch / _CORPUS
    corpus.mkdir()
    for name in ("originals", _REGISTRY):
        if (scratch / name).exists():
            (scratch / name).replace(corpus / name)
    with open_it(_settings_for(corpus, settings)) as workspace:
        facts = manifest.facts
        for scope, ids, rows, metadatas in _records(scratch):
            workspace.stores.vectors.upsert(scope, ids, rows, metadatas)
        found = workspace.check("report")
        if found.missing_vectors or found.surplus_vectors or found.missing_originals:
            raise BackupRejected("registry, vectors and originals of this backup differ; choose another backup")
        workspace.check("repair")
        workspace.catalog.refresh()
        counts = workspace.registry.snapshot(), len(workspace.registry.indexed())
        digest = digest_of_pairs(workspace.registry.chunk_pairs())
        if (*counts, digest) != (facts.snapshot, facts.documents, facts.chunks_digest):
            raise BackupRejected("the registry of this backup is not the one that was saved; choose another backup")
        if not workspace.check("report").agrees:
            raise BackupRejected("the index built from this backup does not hold what it must; choose another backup")
        lost = [question for question in facts.questions if not finds(workspace, question)]
        if lost:
            raise BackupRejected(
                f"{len(lost)} of {len(facts.questions)} golden questions do not find in this backup what they found "
                "when it was made; choose another backup"
            )


def _settings_for(scratch: Path, settings: Settings) -> Settings:
    """These settings with every store and the audit trail in `scratch`, and nothing that reaches out of it.

    Without a `files_dir` of its own, too: comparing deletes originals that the registry does not know.
    """
    storage = settings.storage.model_copy(update={"chroma": "embedded", "database_url": "", "files_dir": ""})
    ingestion = settings.ingestion.model_copy(update={"serving": "in_process"})
    graphs = settings.embedding.graph_dir or str(settings.data_dir / "models")
    embedding = settings.embedding.model_copy(update={"graph_dir": graphs, "serving": "in_process"})
    generation = settings.generation.model_copy(
        update={"engine": "extractive", "fallback": (), "serving": "in_process"}
    )
    redis = settings.redis.model_copy(update={"url": type(settings.redis.url)("")})
    identity = settings.identity.model_copy(update={"mode": "none"})
    audit = settings.audit.model_copy(update={"dir": "", "spool_dir": "", "anchor_dir": ""})
    verification = settings.verification.model_copy(update={"judge": "none"})
    return settings.model_copy(
        update={
            "data_dir": scratch, "sources": (), "storage": storage, "embedding": embedding, "generation": generation,
            "audit": audit, "ingestion": ingestion,
            "redis": redis, "identity": identity, "verification": verification,
        }
    )  # fmt: skip


def _records(folder: Path) -> Iterator[tuple[str, list[str], np.ndarray, list[dict[str, str | int]]]]:
    for path in sorted((folder / "vectors").glob("*.npy")):
        said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        yield path.stem, said["ids"], np.load(path, allow_pickle=False), said["metadatas"]


def _make_room(names: list[str], settings: Settings, replace: bool) -> tuple[Path, ...]:  # noqa: FBT001
    """Move away what stands where the backup goes. The registry goes first: without it nothing of the rest counts."""
    places = {name: _home(name, settings) / name for name in names}
    taken = [name for name, place in places.items() if place.exists() and not _empty(place)]
    elsewhere = bool(settings.storage.database_url) and _documents(settings.database_url) > 0
    if elsewhere:
        taken.append("the registry's database")
    if taken and not replace:
        raise ConfigurationError(
            f"{settings.data_dir} already holds {', '.join(sorted(taken))}; restore into an empty data folder "
            "(BANKSIGHT_DATA_DIR), or replace what is there with --replace"
        )
    kept = f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    side_files = [f"{_REGISTRY}{end}" for end in ("-wal", "-shm")]
    folders: dict[Path, None] = {}  # in the order in which they were made
    for name in dict.fromkeys((_REGISTRY, *side_files, *names)):
        home = _home(name, settings)
        if (home / name).exists():
            folder = home / "backup" / kept
            folder.mkdir(parents=True, exist_ok=True)
            (home / name).replace(folder / name)
            folders[folder] = None
    if elsewhere:
        folder = settings.data_dir / "backup" / kept
        folder.mkdir(parents=True, exist_ok=True)
        _copy_of_database(settings.database_url, folder / _REGISTRY)
        folders[folder] = None
    if not taken:
        for folder in folders:
            shutil.rmtree(folder)
        return ()
    return tuple(folders)


def _empty(path: Path) -> bool:
    """Whether there is nothing of value: no file, and no document in a registry that opening a folder made."""
    if path.name == _REGISTRY:
        return not _documents(f"sqlite:///{path}")
    if path.name in ("chroma", "lexical"):  # made anew from the registry
        return True
    return path.is_dir() and not any(each.is_file() for each in path.rglob("*"))


def _documents(url: str) -> int:
    registry = Registry(open_database(url))
    try:
        return len(registry.documents())
    finally:
        registry.close()


def _copy_of_database(url: str, path: Path) -> None:
    """From it, in its old place, `banksight index check --repair` makes everything else anew but the originals."""
    registry = Registry(open_database(url))
    try:
        registry.copy_to(path)
    finally:
        registry.close()


def _fill_server(scratch: Path, settings: Settings, replace: bool) -> None:  # noqa: FBT001
    storage = settings.storage
    encoder = Registry(open_database(f"sqlite:///{scratch / _CORPUS / _REGISTRY}"))
    fingerprint = encoder.value("encoder") or ""
    encoder.close()
    index = VectorIndex.server(storage.chroma_host, storage.chroma_port, storage.chroma_timeout_seconds, fingerprint)
    try:
        if index.count() and not replace:
            raise ConfigurationError("the Chroma server holds vectors already; replace them with --replace")
        index.clear()
        for scope, ids, rows, metadatas in _records(scratch):
            index.upsert(scope, ids, rows, metadatas)
    finally:
        index.close()


def _fill_database(registry: Path, url: str) -> None:
    target = Registry(open_database(url))
    try:
        target.take_over(registry)
    finally:
        target.close()
