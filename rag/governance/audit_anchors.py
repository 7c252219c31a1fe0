"""Signed heads of chains. A copy on storage that can only be added to shows when the end of a chain is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rag.governance.audit_lines import AuditKeys

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a chain: its number and its MAC."""

    seq: int
    mac: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """What chains ended with at a time."""

    name: str
    at: str
    heads: dict[str, Head]


def write_anchor(path: Path, heads: Mapping[str, Head], keys: AuditKeys) -> None:
    """Write canonical JSON with an Ed25519 signature over everything else in it. Raises `OSError`."""
    told = {chain: {"seq": head.seq, "mac": head.mac} for chain, head in heads.items()}
    facts: dict[str, Any] = {"v": _VERSION, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), "heads": told}
    signature = keys.signing.sign(rfc8785.dumps({**facts, "key": keys.public})).hex()
    content = rfc8785.dumps({**facts, "key": keys.public, "signature": signature})
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())


def anchor_name(chain: str, head: Head) -> str:
    """A file name that sorts by time and is never used twice."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{chain}-{head.seq}.json"


def read_anchor(path: Path, public: str) -> Anchor | None:
    """The anchor; None where its signature is not by this key, whatever else it says."""
    try:
        found = json.loads(path.read_bytes())
        signature = bytes.fromhex(found.pop("signature"))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, rfc8785.dumps(found))
        heads = {chain: Head(int(head["seq"]), str(head["mac"])) for chain, head in found["heads"].items()}
        return Anchor(path.name, str(found["at"]), heads)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature):
        return None


def anchor_files(folder: Path, more: Iterable[Path] = ()) -> list[Path]:
    """The anchors of a folder, oldest first, and those of other places: files, or folders of them."""
    found = sorted(folder.glob("*.json"))
    for each in more:
        found += sorted(each.glob("*.json")) if each.is_dir() else [each]
    return found
