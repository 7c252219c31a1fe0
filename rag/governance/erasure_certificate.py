"""The certificate of an erasure: canonical JSON (RFC 8785), signed with the key of the audit trail's anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rag.governance.audit_lines import AuditKeys
from rag.governance.erasure_proof import Found
from rag.governance.erasure_records import Erasure

_VERSION: Final = 1


def certificate_of(
    erasure: Erasure, steps: Mapping[str, Any], proof: Mapping[str, Any], left: Sequence[str], keys: AuditKeys
) -> dict[str, Any]:
    """What was erased where, what was looked for and found afterwards, and what is not in our hands."""
    facts: dict[str, Any] = {
        "v": _VERSION,
        "id": erasure.id,
        "person": erasure.name,
        "asked_by": erasure.asked_by,
        "asked_at": _shown(erasure.asked_at),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "outcome": "incomplete" if proof["found"] else "erased",
        "erased": dict(steps),
        "proof": dict(proof),
        "left": list(left),
        "key": keys.public,
    }
    return {**facts, "signature": keys.signing.sign(rfc8785.dumps(facts)).hex()}


def proof_of(seen: Found, markers: int, shared: int) -> dict[str, Any]:
    """What was read, for how many markers; `shared` were not looked for, because they are also of what stays."""
    return {"files": seen.files, "bytes": seen.bytes, "markers": markers, "shared": shared, "found": dict(seen.found)}


def is_genuine(certificate: Mapping[str, Any], public: str) -> bool:
    """Whether the holder of this key signed it, as it stands."""
    facts = {name: value for name, value in certificate.items() if name != "signature"}
    try:
        signature = bytes.fromhex(str(certificate["signature"]))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, rfc8785.dumps(facts))
    except (InvalidSignature, KeyError, ValueError):
        return False
    return True


def _shown(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
