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
from rag.governance.receipts import Receipts
from rag.settings.consent import ConsentSettings
from rag.storage.schema import api_keys

_OF_KEYS: Final = ("id", "name", "created_at", "expires_at", "revoked_at", "last_used_at")
Original = Callable[[str], tuple[Path, str]]
"""The stored file of a document that the person may read, and its type. Raises `NotFound`."""


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Where something about a person is kept."""

    database: Engine
    receipts: Receipts
    consents: Consents


def open_personal_data(database: Engine, receipts: Receipts, settings: ConsentSettings) -> PersonalData:
    """What the registry's database and the audit trail hold of people."""
    return PersonalData(database, receipts, Consents(database, settings, receipts))


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
    mine = list(_records(kept.receipts, principal))
    uploads = [each for each in mine if each["kind"] == "upload"]
    content = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "person": {
            "subject": principal.subject, "tenant": principal.tenant,
            "roles": sorted(principal.roles), "clearances": sorted(principal.clearances),
        },
        "consents": [asdict(each) for each in kept.consents.of(principal)],
        "keys": _keys(kept.database, principal),
        "records": mine,
    }  # fmt: skip
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.json", json.dumps(content, ensure_ascii=False, indent=2))
        for document_id in dict.fromkeys(str(each["document_id"]) for each in uploads if "document_id" in each):
            try:
                path, _ = original(document_id)
                archive.write(path, f"files/{document_id}")
            except (NotFound, FileNotFoundError):  # deleted since, held back, or no longer theirs to read
                continue


def _records(receipts: Receipts, principal: Principal) -> Iterator[dict[str, Any]]:
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


def _keys(database: Engine, principal: Principal) -> list[dict[str, Any]]:
    """Their keys without the secrets, of which only a hash is kept."""
    columns = (getattr(api_keys.c, name) for name in _OF_KEYS)
    query = select(*columns).filter_by(tenant=principal.tenant, subject=principal.subject)
    with database.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]
