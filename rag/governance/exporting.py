"""Everything that is kept about a person, as one archive: access and portability (GDPR, Articles 15 and 20)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, select

from rag.domain import Principal
from rag.errors import NotFound
from rag.governance.audit_lines import Record, chains, lines_of, parsed, segments
from rag.governance.consent import Consents
from rag.governance.erasure_records import Erasures
from rag.governance.privacy_policies import protect
from rag.governance.receipts import Receipts
from rag.settings import PrivacySettings, Settings
from rag.storage.schema import api_keys
from rag.storage.uploaders import Uploaders

_OF_KEYS: Final = ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at")
_WORDS: Final = ("question", "history", "comment")
Original = Callable[[str], tuple[Path, str]]
"""The stored file of a document that the person may read, and its type. Raises `NotFound`."""


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Where something about a person is kept."""

    database: Engine
    receipts: Receipts
    consents: Consents
    privacy: PrivacySettings

    @property
    def erasures(self) -> Erasures:
        """Who asked to be erased, and the certificates."""
        return Erasures(self.database, self.receipts.subjects)

    @property
    def uploaders(self) -> Uploaders:
        """Who uploaded what."""
        return Uploaders(self.database)


def open_personal_data(database: Engine, receipts: Receipts, settings: Settings) -> PersonalData:
    """What the registry's database and the audit trail hold of people."""
    return PersonalData(database, receipts, Consents(database, settings.consent, receipts), settings.privacy)


def write_export(target: Path, principal: Principal, kept: PersonalData, original: Original) -> None:
    """Write a ZIP archive: `export.json`, and under `files/` what the person uploaded and may still read. Blocks.

    Raises `StorageUnavailable` where the export cannot be recorded. Where anything fails, `target` is gone.
    """
    try:
        _write(target, principal, kept, original)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(target: Path, principal: Principal, kept: PersonalData, original: Original) -> None:
    kept.receipts.record("export", principal, of="person")
    mine, who = list(records_of_person(kept.receipts, principal)), kept.receipts.subjects.of(principal)
    uploads = kept.uploaders.of(principal.tenant, principal.subject)
    content = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "person": {
            "subject": principal.subject, "tenant": principal.tenant,
            "roles": sorted(principal.roles), "clearances": sorted(principal.clearances),
        },
        "consents": [asdict(each) for each in kept.consents.of(principal)],
        "keys": _keys(kept.database, principal),
        "uploads": [asdict(each) for each in uploads],
        "records": [_protected(each, kept.privacy, who.key) for each in mine],
    }  # fmt: skip
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.json", json.dumps(content, ensure_ascii=False, indent=2))
        for each in uploads:
            try:
                path, _ = original(each.document_id)
                archive.write(path, f"files/{each.document_id}")
            except (NotFound, FileNotFoundError):  # deleted since, held back, or no longer theirs to read
                continue


def records_of_person(receipts: Receipts, principal: Principal) -> Iterator[dict[str, Any]]:
    """What the audit trail holds of this person, with the words that their key opens, receipt by receipt."""
    who = receipts.subjects.of(principal)
    found: dict[str, list[Record]] = {}
    for chain in chains(receipts.writer.places.folder):
        for path in segments(chain):
            for _, line, _ in lines_of(path):
                read = parsed(line, receipts.writer.key)
                if read and (read[0].who == who.pseudonym or read[0].id in found):
                    found.setdefault(read[0].id, []).append(read[0])
    for receipt_id, records in found.items():
        body: dict[str, Any] = {}
        for each in records:
            body |= each.body
        sealed = body.pop("sealed", None)
        opened = who.unseal(sealed, receipt_id) if sealed else None
        words = json.loads(opened.decode("utf-8", "replace")) if opened else {}
        yield {"receipt": receipt_id, "at": records[0].at, "kind": records[0].kind, **body, **words}


def _protected(value: Any, privacy: PrivacySettings, key: bytes) -> Any:
    """What a person said, under the policies for exports. Ids and digests are no text."""
    if isinstance(value, dict):
        return {name: _protected(each, privacy, key) if name in _WORDS else each for name, each in value.items()}
    if isinstance(value, list):
        return [_protected(each, privacy, key) for each in value]
    return protect(value, privacy.exports, key, privacy.regions).text if isinstance(value, str) else value


def _keys(database: Engine, principal: Principal) -> list[dict[str, Any]]:
    """Their keys without the secrets, of which only a hash is kept."""
    columns = (getattr(api_keys.c, name) for name in _OF_KEYS)
    query = select(*columns).filter_by(tenant=principal.tenant, subject=principal.subject)
    with database.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]
