"""Uploaded files: kept as a source of their own, one sub-folder per collection."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from connectors.base import document_id
from connectors.errors import SourceUnreadable
from connectors.parsing import detect_media_type
from rag.domain import Document, Principal
from rag.errors import UploadRejected
from rag.settings import SourceSettings

DEFAULT_COLLECTION = "uploads"
_PREFIX = "uploads-"
_MOST_CHARACTERS = 180  # file systems take 255 bytes; a sidecar's suffix must fit as well


@dataclass(frozen=True, slots=True)
class Upload:
    """A file and what the uploader says about it."""

    name: str
    content: bytes
    title: str
    collection: str
    access: tuple[str, ...]
    effective_from: date | None
    effective_to: date | None


def is_upload(source: str) -> bool:
    """True for the names of sources that hold uploaded files."""
    return source.startswith(_PREFIX)


def sources(files_dir: Path) -> tuple[SourceSettings, ...]:
    """One source per folder of uploaded files."""
    folders = sorted(path for path in (files_dir / "uploads").glob("*") if path.is_dir())
    return tuple(SourceSettings(name=_PREFIX + path.name, collection=path.name, root=path) for path in folders)


def store(upload: Upload, principal: Principal, files_dir: Path, most_bytes: int, known: Collection[str]) -> Document:
    """Write the file and its sidecar. Raises `UploadRejected`; then nothing was written."""
    name = _safe_name(upload.name)
    _require_allowed(upload, principal, most_bytes, known)
    try:
        media_type = detect_media_type(name, upload.content)
    except SourceUnreadable as error:
        status = 415 if error.reason in ("unsupported", "mislabelled") else 422
        raise UploadRejected(str(error), status) from error
    folder = files_dir / "uploads" / upload.collection
    _refuse_taken(folder / name, principal)
    folder.mkdir(parents=True, exist_ok=True)
    # The sidecar first: a file must never be there without its labels, whatever kills this process.
    _replace(folder / f"{name}.meta.yaml", yaml.safe_dump(_sidecar(upload), allow_unicode=True).encode())
    _replace(folder / name, upload.content)
    source, uri = _PREFIX + upload.collection, f"file:{name}"
    return Document(
        id=document_id(source, uri),
        source=source,
        uri=uri,
        title=upload.title or name,
        collection=upload.collection,
        tenant=principal.tenant,
        media_type=media_type,
        fingerprint="",
        content_hash="",
        access=frozenset(upload.access),
        state="pending",
        effective_from=upload.effective_from,
        effective_to=upload.effective_to,
        size_bytes=len(upload.content),
    )


def _require_allowed(upload: Upload, principal: Principal, most_bytes: int, known: Collection[str]) -> None:
    if len(upload.content) > most_bytes:
        raise UploadRejected(f"the file has {len(upload.content):,} bytes; the limit is {most_bytes:,}", status=413)
    if upload.collection not in known:
        raise UploadRejected(f"unknown collection {upload.collection!r}; known: {', '.join(sorted(known))}")
    missing = set(upload.access) - principal.clearances
    if missing:
        raise UploadRejected(f"you do not hold the access labels {', '.join(sorted(missing))}, so you cannot set them")
    if upload.effective_from and upload.effective_to and upload.effective_from > upload.effective_to:
        raise UploadRejected("effective_from is after effective_to; the document would never be in force")


def _refuse_taken(path: Path, principal: Principal) -> None:
    """Nobody replaces a file that they may not read, also one that is not indexed yet."""
    try:
        said = yaml.safe_load(path.with_name(f"{path.name}.meta.yaml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return
    if not set(said.get("access", ())) <= principal.clearances:
        raise UploadRejected("a file of this name is there already and is not yours to replace; rename the file")


def delete_file(files_dir: Path, document: Document) -> bool:
    """Delete an uploaded document's file and sidecar. False when the document was not uploaded."""
    if not is_upload(document.source):
        return False
    path = files_dir / "uploads" / document.source.removeprefix(_PREFIX) / document.uri.removeprefix("file:")
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.meta.yaml").unlink(missing_ok=True)
    return True


def _safe_name(name: str) -> str:
    """The last part of the name the client gave, when it is one that is the same on every file system."""
    plain = unicodedata.normalize("NFC", name).strip()
    if not plain or plain.startswith((".", "_")) or plain.endswith((".", ".meta.yaml")):
        raise UploadRejected(f"the file name {name[:80]!r} is not allowed; rename the file and try again")
    if re.search(r'[\\/:*?"<>|]', plain) or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in plain):
        raise UploadRejected(f"the file name {name[:80]!r} has characters that are not allowed; rename the file")
    if len(plain.encode()) > _MOST_CHARACTERS:
        raise UploadRejected(f"the file name is longer than {_MOST_CHARACTERS} bytes; give the file a shorter name")
    return plain


def _sidecar(upload: Upload) -> dict[str, object]:
    content: dict[str, object] = {}
    if upload.title:
        content["title"] = upload.title
    if upload.access:
        content["access"] = sorted(upload.access)
    for key in ("effective_from", "effective_to"):
        day: date | None = getattr(upload, key)
        if day:
            content[key] = day.isoformat()
    return content


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".incoming-{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)
