"""Lines of the audit trail: canonical JSON (RFC 8785), each bound to the one before by HMAC-SHA-256.

    {"mac":"<64 hex>","record":{"at":…,"body":{…},"chain":…,"id":…,"kind":…,"prev":"<mac>","seq":n,"v":1,"who":…}}

The MAC is over the bytes of `record` as they stand, so that checking needs no second writer of JSON.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rag.governance.keys import read_secret

VERSION: Final = 1
START: Final = "0" * 64  # what the first record of a chain follows
SEALED: Final = "sealed"  # kind of the record that accounts for a line which a killed process left unfinished
PRUNED: Final = "pruned"  # kind of the record that says from where chains go on after old segments were deleted
RECEIPT_ID: Final = r"^[0-9a-f]{8}-\d{8}-[0-9a-f]{16}$"
SEGMENTS: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].jsonl"
_SAFE_INTEGER: Final = 2**53  # RFC 8785, 3.2.2.3
_KEY_FILE: Final = "audit-secret"
_HEAD: Final = b'{"mac":"'
_MIDDLE: Final = b'","record":'
_TAIL: Final = b"}"
_MAC: Final = slice(len(_HEAD), len(_HEAD) + 64)
_RECORD_AT: Final = len(_HEAD) + 64 + len(_MIDDLE)

Kind = Literal[
    "question", "answer", "upload", "deletion", "labelling",
    "restoration", "login", "logout", "role_change", "export",
    "configuration", "ingestion", "consent", "erasure", "feedback", "sealed", "pruned",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """What protects the trail, all derived from one secret by HKDF-SHA-256 (RFC 5869)."""

    chain: bytes = field(repr=False)
    naming: bytes = field(repr=False)
    wrapping: bytes = field(repr=False)
    signing: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> str:
        """The key with which anybody can check an anchor: Ed25519, 32 bytes in hexadecimal digits."""
        return self.signing.public_key().public_bytes_raw().hex()


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. `who` is a pseudonym; empty for the system itself."""

    chain: str
    seq: int
    id: str
    at: str
    kind: str
    who: str
    prev: str
    body: dict[str, Any]


def audit_keys(configured: str, data_dir: Path) -> AuditKeys:
    """The keys of the configured secret, or of the file in the data folder, made now if it is not there.

    Raises `ConfigurationError` when the file cannot be read or made.
    """
    secret = read_secret(configured, data_dir / _KEY_FILE, "audit.secret", "the audit trail can be checked")

    def derive(purpose: bytes) -> bytes:
        return HKDF(hashes.SHA256(), 32, salt=None, info=b"banksight audit: " + purpose).derive(secret)

    signing = Ed25519PrivateKey.from_private_bytes(derive(b"anchors"))
    return AuditKeys(derive(b"chain"), derive(b"names of subjects"), derive(b"keys of subjects"), signing)


def new_receipt_id(chain: str, day: str) -> str:
    """An id that says where its records are: the chain, and the segment (`2026-11-25`) in which they begin."""
    return f"{chain}-{day.replace('-', '')}-{secrets.token_hex(8)}"


def canonical(value: dict[str, Any]) -> bytes:
    """Canonical JSON. Where no number is a fraction or huge, the standard library writes the same, five times as fast.

    Raises as `rfc8785.dumps` does.
    """
    if not _is_plain(value):
        return rfc8785.dumps(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _is_plain(value: Any) -> bool:
    """Texts, whole numbers and ASCII keys: what both write alike."""
    if isinstance(value, str) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) < _SAFE_INTEGER
    if isinstance(value, dict):
        return all(isinstance(key, str) and key.isascii() for key in value) and all(map(_is_plain, value.values()))
    return isinstance(value, list | tuple) and all(map(_is_plain, value))


def line_of(record: Record, key: bytes) -> tuple[bytes, str]:
    """The line with its end, and its MAC."""
    names = ("chain", "seq", "id", "at", "kind", "who", "prev", "body")
    content = canonical({"v": VERSION, **{name: getattr(record, name) for name in names}})
    mac = hmac.new(key, content, hashlib.sha256).hexdigest()
    return _HEAD + mac.encode() + _MIDDLE + content + _TAIL + b"\n", mac


def parsed(line: bytes, key: bytes) -> tuple[Record, str] | None:
    """Record and MAC of a line without its end; None for what was not written so, or was changed since."""
    if not (line.startswith(_HEAD) and line[_MAC.stop : _RECORD_AT] == _MIDDLE and line.endswith(_TAIL)):
        return None
    content, mac = line[_RECORD_AT:-1], line[_MAC].decode("latin-1")
    if not hmac.compare_digest(hmac.new(key, content, hashlib.sha256).hexdigest().encode(), mac.encode("latin-1")):
        return None
    found = json.loads(content)
    found.pop("v")
    return Record(**found), mac


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def encoded(content: bytes) -> str:
    """Bytes as they stand in records."""
    return base64.b64encode(content).decode()


def segments(chain_folder: Path) -> list[Path]:
    """The files of a chain, one a day, oldest first."""
    return sorted(chain_folder.glob(SEGMENTS))


def chains(folder: Path) -> list[Path]:
    """The folders of all chains."""
    return sorted(each for each in folder.glob("[0-9a-f]" * 8) if each.is_dir())


def lines_of(segment: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Number (from 1) and bytes of each line, and whether it has its end."""
    with segment.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield number, line.removesuffix(b"\n"), line.endswith(b"\n")
