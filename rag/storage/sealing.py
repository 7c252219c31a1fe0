"""Names and envelopes of cached answers: who reads or writes Redis learns no question and can plant no answer."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rag.errors import ConfigurationError

_NONCE_BYTES: Final = 12  # NIST SP 800-38D: random nonces of 96 bits, at most 2^32 under one key
_KEY_BYTES: Final = 32
_FILE: Final = "cache.secret"


class Sealer:
    """Derives everything from one secret, by HKDF-SHA-256 (RFC 5869) with a purpose for each key."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._naming = self._derive(b"banksight cache: names")
        self._ciphers: dict[str, AESGCM] = {}

    def name(self, facts: Mapping[str, Any]) -> str:
        """HMAC-SHA-256 over the canonical JSON (RFC 8785) of what an answer depends on, in hexadecimal digits."""
        return hmac.new(self._naming, rfc8785.dumps(dict(facts)), hashlib.sha256).hexdigest()

    def seal(self, name: str, tenant: str, content: bytes) -> bytes:
        """AES-256-GCM under a key of the tenant, bound to `name`: a nonce, then the ciphertext with its tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(tenant).encrypt(nonce, content, name.encode())

    def unseal(self, name: str, tenant: str, sealed: bytes) -> bytes | None:
        """What was sealed under this name for this tenant; None for anything else: changed, swapped, or of others."""
        try:
            return self._cipher(tenant).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, tenant: str) -> AESGCM:
        if tenant not in self._ciphers:
            self._ciphers[tenant] = AESGCM(self._derive(b"banksight cache: answers of " + tenant.encode()))
        return self._ciphers[tenant]

    def _derive(self, purpose: bytes) -> bytes:
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(self._secret)


def cache_secret(configured: str, data_dir: Path) -> bytes:
    """The configured secret; without one, that of this data folder, made now if it is not there.

    Raises `ConfigurationError` when the folder cannot be written.
    """
    if configured:
        return configured.encode()
    path = data_dir / _FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}); set cache.secret") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_KEY_BYTES))
    return _read(path)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) < _KEY_BYTES:
        raise ConfigurationError(f"{path} holds no secret; delete it, and a new one is made")
    return content
