"""Erasing a person: the steps, in order, each of which may be done again (GDPR, Article 17).

Deleting is not erasing: Chroma, the lexical index and SQLite keep what was deleted in their files. So the files are
written anew, and read byte by byte afterwards. Records of the audit trail stay, under a pseudonym whose key is gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import rfc8785

from rag.domain import Document, Principal
from rag.governance import erasure_proof as proof
from rag.governance import erasure_rows as rows
from rag.governance.audit_lines import digest
from rag.governance.erasure_certificate import certificate_of, proof_of
from rag.governance.erasure_chat import UNKNOWN, conversations_url, erase_conversations
from rag.governance.erasure_records import Erasures
from rag.governance.exporting import PersonalData, records_of_person
from rag.governance.identity import open_key_store
from rag.governance.keys import KeyStore
from rag.ingestion import removing
from rag.ingestion.run import Stores
from rag.ingestion.uploads import is_upload
from rag.operations.backup_snapshot import place_of_snapshot
from rag.settings import Settings
from rag.storage.chroma_files import clean_in_other_process
from rag.storage.lexical import LexicalEntry
from rag.storage.replica import REWRITTEN
from rag.storage.uploaders import Uploaded
from rag.storage.vacuuming import vacuum

if TYPE_CHECKING:
    Step = Callable[[], dict[str, Any]]

_TOGETHER: Final = 200  # documents whose chunks are in memory at the same time


@dataclass(frozen=True, slots=True)
class Places:
    """Everything in which something of a person may stand. `forget_answers` is `CachedAnswers.forget`."""

    kept: PersonalData
    keys: KeyStore
    stores: Stores
    settings: Settings
    forget_answers: Callable[[], int | None]


def open_places(
    kept: PersonalData, stores: Stores, settings: Settings, forget_answers: Callable[[], int | None]
) -> Places:
    """All of them."""
    return Places(kept, open_key_store(settings, kept.database), stores, settings, forget_answers)


def erase(erasure_id: str, places: Places) -> dict[str, Any]:
    """Do an erasure that was asked for, from where it was cut off. Returns the certificate. Blocks.

    Nobody may write to the stores meanwhile. Raises `StorageUnavailable` where a place does not answer: the erasure
    stays to be done.
    """
    return _Erasing(erasure_id, places).run()


class _Erasing:
    """One erasure at work."""

    def __init__(self, erasure_id: str, places: Places) -> None:
        self._id = erasure_id
        self._places = places
        self._settings = places.settings
        self._database = places.kept.database
        self._subjects = places.kept.receipts.subjects
        self._erasures = Erasures(self._database, self._subjects)

    def run(self) -> dict[str, Any]:
        erasure, progress = self._erasures.load(self._id)
        if progress is None:
            return self._erasures.certificate(self._id) or {}
        self._progress = progress
        if progress.markers is None:
            self._look()
        with self._recorded() as ending:
            for name, step in self._steps().items():
                if name not in progress.done:
                    progress.done[name] = step()
                    self._erasures.save(self._id, progress)
            certificate = certificate_of(erasure, progress.done, self._proof(), self._left(), self._subjects.keys)
            ending["certificate_sha256"] = digest(rfc8785.dumps(certificate))
        self._erasures.finish(self._id, certificate)
        vacuum(self._database)
        return certificate

    def _steps(self) -> dict[str, Step]:
        steps: dict[str, Step] = {
            "access": lambda: {"keys": rows.end_access(self._places.keys, *self._person)},
            "uploads": self._uploads,
            "records": lambda: dict(rows.erase_rows(self._database, *self._person, self._document_ids)),
            "conversations": self._conversations,
            "answers": self._answers,
            "trail": lambda: {"key": int(self._subjects.erase(*self._person))},
        }
        if self._progress.uploaded_ever:
            steps |= {"vectors": self._vectors, "words": self._words}
        return steps | {"copies": self._copies, "database": self._vacuumed}

    @property
    def _person(self) -> tuple[str, str]:
        return self._progress.tenant, self._progress.subject

    @property
    def _document_ids(self) -> list[str]:
        return [each.document_id for each in self._progress.uploads or ()]

    def _look(self) -> None:
        """Find what is theirs, and what will be looked for at the end, before anything is deleted."""
        uploads, ever = uploads_of(self._places, *self._person)
        self._progress.uploads, self._progress.uploaded_ever = uploads, ever
        own = partial(rows.own_chunks, self._database)
        markers = proof.markers_of(self._documents(), self._places.stores, own)
        names = [self._progress.subject, *(each.name for each in uploads)]
        markers += proof.name_markers(names, self._settings.identity.subject)
        if key := self._subjects.stored(*self._person):
            markers.append(key.encode())
        self._progress.markers = markers
        self._erasures.save(self._id, self._progress)

    def _documents(self) -> list[Document]:
        ids = set(self._document_ids)
        return [each for each in self._places.stores.registry.documents() if each.id in ids]

    @contextmanager
    def _recorded(self) -> Iterator[dict[str, Any]]:
        """A receipt that names the person by nothing that is left afterwards."""
        with self._places.kept.receipts.action("erasure", None, erasure=self._id) as ending:
            yield ending

    # --- the steps, in order ----------------------------------------------------------------------------------------

    def _uploads(self) -> dict[str, Any]:
        """Delete the documents from every store, and their files."""
        documents = self._documents()
        removing.remove_documents(documents, self._places.stores)
        for each in self._progress.uploads or ():
            folder = self._settings.files_dir / "uploads" / each.collection
            sidecar = f"{each.name}.meta.yaml"
            for name in (each.name, sidecar, f".incoming-{each.name}", f".incoming-{sidecar}"):
                (folder / name).unlink(missing_ok=True)
        chunks = sum(each.chunks for each in documents)
        return {"documents": len(self._document_ids), "chunks": chunks}

    def _conversations(self) -> dict[str, Any]:
        url = conversations_url(self._settings.privacy.conversations_url.get_secret_value(), self._settings.data_dir)
        tenant, subject = self._person
        alone = [subject] if subject == self._settings.identity.subject else []
        if not url:
            return {"state": "not reached"}
        return erase_conversations(url, [f"{tenant}/{subject}", *alone], subject)

    def _answers(self) -> dict[str, Any]:
        gone = self._places.forget_answers()
        return {"state": "Redis did not answer"} if gone is None else {"forgotten": gone}

    def _vectors(self) -> dict[str, Any]:
        """Write every collection anew: earlier versions of a document may have stood in another one."""
        count = self._places.stores.vectors.rewrite()
        if self._settings.storage.chroma == "server":
            return {"kept": count, "state": "rewritten on the server, whose files are not ours to clean"}
        return {"kept": count, **clean_in_other_process(self._settings.data_dir / "chroma")}

    def _words(self) -> dict[str, Any]:
        """Write the lexical index anew, and have the copies of reading nodes do the same."""
        registry, lexical = self._places.stores.registry, self._places.stores.lexical
        ids = [document.id for document, _ in registry.indexed()]
        batches = (ids[start : start + _TOGETHER] for start in range(0, len(ids), _TOGETHER))
        lexical.rewrite(
            [
                LexicalEntry(scope, c.chunk_id, c.document_id, c.title, c.section, c.text, c.header)
                for scope, c in registry.chunks_of(some)
            ]
            for some in batches
        )
        registry.set_value(REWRITTEN, self._id)
        return {"kept": lexical.count()}

    def _copies(self) -> dict[str, Any]:
        """Delete what a backup left on this machine, and originals that nobody refers to."""
        shutil.rmtree(place_of_snapshot(self._settings), ignore_errors=True)
        stores = self._places.stores
        return {"originals": stores.originals.keep_only(stores.registry.content_hashes())}

    def _vacuumed(self) -> dict[str, Any]:
        vacuum(self._database)
        return {"state": "written anew"}

    # --- what the certificate says besides --------------------------------------------------------------------------

    def _proof(self) -> dict[str, Any]:
        markers = self._progress.markers or []
        looked_for = [each for each in markers if not self._shared(each)]
        settings = self._settings
        folders = [
            settings.data_dir, settings.files_dir, settings.audit_dir, settings.audit_spool_dir, settings.anchor_dir,
            *([settings.log_dir] if settings.log_dir else []),
        ]  # fmt: skip
        seen = proof.search([each for each in folders if each.is_dir()], looked_for, [settings.data_dir / "models"])
        return proof_of(seen, len(looked_for), len(markers) - len(looked_for))

    def _shared(self, marker: bytes) -> bool:
        """Whether it is a text that is also in a document that stays."""
        try:
            return rows.mentions(self._database, marker.decode())
        except UnicodeDecodeError:  # of a vector
            return False

    def _left(self) -> list[str]:
        """What is not in our hands, as sentences for people."""
        settings, told = self._settings, []
        if "state" in self._progress.done["conversations"]:
            told.append(UNKNOWN)
        if settings.backup.repository:
            told.append(
                f"backups made before hold what was uploaded until they are pruned, after {settings.backup.keep_days} "
                "days; when one is restored, ask for the erasure again"
            )
        if settings.redis.url.get_secret_value():
            told.append("if Redis writes to disk, sealed answers are in its files until it rewrites them")
        if settings.cache.mode == "on":
            told.append(f"other processes keep answers in memory for at most {settings.cache.ttl_seconds} s")
        if self._database.dialect.name == "postgresql":
            told.append("the files of PostgreSQL were not read; its log is recycled by its own settings")
        if settings.storage.chroma == "server":
            told.append("on the machine of the Chroma server, run `python -m rag.storage.chroma_files FOLDER`")
        return told


def uploads_of(places: Places, tenant: str, subject: str) -> tuple[list[Uploaded], bool]:
    """What a person uploaded and nobody replaced; and whether they ever uploaded something.

    The trail knows what the table does not: uploads of earlier versions, and of a process that was killed in between.
    """
    kept, registry = places.kept, places.stores.registry
    found, ever = kept.uploaders.of(tenant, subject), kept.uploaders.ever(tenant, subject)
    if kept.receipts.subjects.pseudonym_of(tenant, subject) is None:
        return found, ever
    records = records_of_person(kept.receipts, Principal(subject, tenant))
    hashes = {each["sha256"] for each in records if each["kind"] == "upload" and "sha256" in each}
    known = {each.document_id for each in found}
    more = [d for d in registry.documents() if is_upload(d.source) and d.content_hash in hashes and d.id not in known]
    theirs = kept.uploaders.owned_by_others([each.id for each in more], tenant, subject)
    found += [
        Uploaded(each.id, each.collection, each.uri.removeprefix("file:"), 0) for each in more if each.id not in theirs
    ]
    return found, bool(ever or hashes)
