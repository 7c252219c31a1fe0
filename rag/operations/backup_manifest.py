"""What a backup says of itself, and the checks that nothing of it is damaged, missing, or of another backup."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from rag.errors import BackupRejected
from rag.storage.database import schema_revisions

FORMAT: Final = 1  # another number: this software cannot read it
NAME: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Question:
    """A golden question: asked with these rights on that day, it found this chunk when the backup was made."""

    text: str
    chunk_id: str
    tenant: str
    access: tuple[str, ...]
    as_of: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """The state that was backed up. `identity` are the encoder and the splitting that made the index."""

    created_at: str
    app_version: str
    schema_revision: str
    tenant: str
    identity: Mapping[str, str]
    snapshot: int
    documents: int
    chunks: int
    chunks_digest: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts, and SHA-256 and size of every file by its path."""

    format: int
    facts: Facts
    files: Mapping[str, tuple[str, int]]


def seal(folder: Path, facts: Facts) -> Manifest:
    """Write the manifest of what lies in `folder`. Nothing may be added or changed afterwards."""
    manifest = Manifest(FORMAT, facts, _files(folder))
    (folder / NAME).write_bytes(_sealed(asdict(manifest)))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest, when it is whole and this software can read such backups. Raises `BackupRejected`."""
    try:
        content = (folder / NAME).read_bytes()
    except OSError as error:
        raise BackupRejected("this is no backup of BankSight: it has no manifest; choose another one") from error
    try:
        said = json.loads(content)
        del said["sha256"]
        whole = _sealed(said) == content
    except (ValueError, KeyError, TypeError, RecursionError, rfc8785.CanonicalizationError):
        whole = False
    if not whole:
        raise BackupRejected("the manifest of this backup is damaged; choose another backup")
    if said["format"] != FORMAT:
        raise BackupRejected(
            f"this backup has format {said['format']}, and this version of BankSight reads {FORMAT}; "
            "restore it with the version that made it"
        )
    facts = dict(said["facts"])
    facts["questions"] = tuple(Question(**each | {"access": tuple(each["access"])}) for each in facts["questions"])
    files = {path: (digest, size) for path, (digest, size) in said["files"].items()}
    return Manifest(said["format"], Facts(**facts), files)


def require_usable(folder: Path, tenant: str) -> Manifest:
    """The manifest of a backup that belongs here and whose every file is as it was. Raises `BackupRejected`."""
    manifest = read_manifest(folder)
    facts = manifest.facts
    if facts.schema_revision not in schema_revisions()[1]:
        raise BackupRejected(
            f"this backup was made by BankSight {facts.app_version} with schema {facts.schema_revision}, which this "
            "version does not know; install the version that made it, or a newer one"
        )
    if facts.tenant != tenant:
        raise BackupRejected(
            f"this backup is of the tenant {facts.tenant}, and this installation of {tenant}; choose another backup"
        )
    found = _files(folder)
    wrong = sorted(path for path in {*found, *manifest.files} if found.get(path) != manifest.files.get(path))
    if wrong:
        more = f" and {len(wrong) - 1} more files" if len(wrong) > 1 else ""
        raise BackupRejected(f"this backup is damaged or mixed at {wrong[0]}{more}; choose another backup")
    return manifest


def digest_of_pairs(pairs: set[tuple[str, str]]) -> str:
    """One SHA-256 for a set of `(scope, chunk id)`."""
    return hashlib.sha256("\n".join(sorted(f"{scope}\x1f{chunk}" for scope, chunk in pairs)).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> dict[str, tuple[str, int]]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
    names = ((path, path.relative_to(folder).as_posix()) for path in found)
    return {name: (file_digest(path), path.stat().st_size) for path, name in names if name != NAME}


def _sealed(content: dict[str, Any]) -> bytes:
    """Canonical JSON with its own SHA-256, so that any other byte anywhere gives it away."""
    digest = hashlib.sha256(rfc8785.dumps(content)).hexdigest()
    return rfc8785.dumps({**content, "sha256": digest})
