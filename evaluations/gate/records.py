"""The decision as a document that can be checked years later: canonical JSON (RFC 8785) with an Ed25519 signature."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rag.errors import ConfigurationError

FORMAT: Final = "banksight-decision-1"
_SIGNATURE: Final = "signature"


class RecordRejected(ConfigurationError):
    """A decision record is not what its signer signed."""

    code = "record_rejected"


def create_key(private: Path) -> Path:
    """Write a new key pair: the private key at `private`, for its owner only, the public key beside it with `.pub`.

    Raises `ConfigurationError` when a file is there already: a lost key can sign nothing more.
    """
    public = private.with_name(private.name + ".pub")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigurationError(f"{private} is there already; choose another place for the new key") from error
    except OSError as error:
        raise ConfigurationError(f"{private} cannot be written ({error.strerror}); choose another place") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def sign(decision: Mapping[str, Any], private: Path) -> dict[str, Any]:
    """The decision with format, public key and signature. Raises `ConfigurationError` for what is no Ed25519 key."""
    key = _private_key(private)
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    body = {**decision, "format": FORMAT, "public_key": base64.b64encode(public).decode()}
    return {**body, _SIGNATURE: base64.b64encode(key.sign(rfc8785.dumps(body))).decode()}


def write(record: Mapping[str, Any], path: Path) -> None:
    """Write a record, readable for people. Raises `ConfigurationError` when the file is there: records are kept."""
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(record, file, indent=2, ensure_ascii=False, sort_keys=True)
            file.write("\n")
    except FileExistsError as error:
        raise ConfigurationError(f"{path} is there already; decisions are never overwritten") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}); choose another place") from error


def verify(path: Path, public: Path | None = None) -> dict[str, Any]:
    """The decision, when its signature holds and, with `public`, was made with that key. Raises `RecordRejected`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        body = {key: value for key, value in record.items() if key != _SIGNATURE}
        raw = base64.b64decode(record["public_key"], validate=True)
        signature = base64.b64decode(record[_SIGNATURE], validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordRejected(f"{path} is no signed decision of `banksight evaluate gate`") from error
    if public is not None and _public_key(public) != raw:
        raise RecordRejected(f"{path} was signed with another key than {public}; do not rely on it")
    try:
        key.verify(signature, rfc8785.dumps(body))
    except InvalidSignature as error:
        raise RecordRejected(f"{path} was changed after it was signed; do not rely on it") from error
    return body


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is no readable private key; make one with `banksight evaluate keys create {path}`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key; make one with `banksight evaluate keys create`")
    return key


def _public_key(path: Path) -> bytes:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is no readable public key; it is the file that ends in .pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key")
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
