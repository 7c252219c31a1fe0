"""A key for each person. It makes the pseudonym and hides what they asked; without it a record is nobody's.

Erasing a person from the audit trail is deleting their key: the trail itself stays as it was, and can be checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from rag.domain import Principal
from rag.errors import StorageUnavailable
from rag.governance.audit_lines import AuditKeys
from rag.storage.schema import subject_keys

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D: random nonces of 96 bits, at most 2^32 under one key
_MOST_KNOWN: Final = 10_000
_KNOWN_SECONDS: Final = 60.0  # after which an erased key is gone from the memory of other processes too


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """What one person's records are made with."""

    pseudonym: str
    key: bytes

    def digest(self, text: str) -> str:
        """HMAC-SHA-256: nobody without the key can try texts until one fits."""
        return hmac.new(self.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def seal(self, content: bytes, receipt_id: str) -> str:
        """AES-256-GCM bound to the receipt: nonce and ciphertext, base64."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + AESGCM(self.key).encrypt(nonce, content, receipt_id.encode())).decode()

    def unseal(self, sealed: str, receipt_id: str) -> bytes | None:
        """What was sealed for this receipt; None for anything else."""
        try:
            content = base64.b64decode(sealed, validate=True)
            return AESGCM(self.key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], receipt_id.encode())
        except (InvalidTag, ValueError):
            return None


class SubjectKeys:
    """The keys in the registry's database, wrapped under a key that is not there. Thread-safe."""

    def __init__(self, database: Engine, keys: AuditKeys) -> None:
        self._database = database
        self.keys = keys
        self._naming = keys.naming
        self._wrapping = AESGCM(keys.wrapping)
        self._known: OrderedDict[str, tuple[float, SubjectKey]] = OrderedDict()
        self._lock = threading.Lock()

    def name(self, tenant: str, subject: str) -> str:
        """How this installation calls a person where their name must not stand: 64 hexadecimal digits."""
        return hmac.new(self._naming, f"{tenant}\0{subject}".encode(), hashlib.sha256).hexdigest()

    def wrap(self, content: bytes, context: str) -> str:
        """The content under this installation's key, for this context only: AES-256-GCM, base64."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._wrapping.encrypt(nonce, content, context.encode())).decode()

    def unwrap(self, wrapped: str, context: str) -> bytes:
        """What was wrapped for this context. Raises `StorageUnavailable` where the secret is another one now."""
        content = base64.b64decode(wrapped)
        try:
            return self._wrapping.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], context.encode())
        except InvalidTag as error:
            raise StorageUnavailable(
                "the keys of the audit trail were made under another secret; restore the file audit-secret of the "
                "data folder, or set audit.secret to what it was"
            ) from error

    def stored(self, tenant: str, subject: str) -> str | None:
        """The bytes, as text, that stand for a person's key in the database; None where there is none."""
        query = select(subject_keys.c.wrapped).where(subject_keys.c.name == self.name(tenant, subject))
        with self._database.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def of(self, principal: Principal) -> SubjectKey:
        """The key of this person, made now if there is none. Blocks. Raises `StorageUnavailable`."""
        name = self.name(principal.tenant, principal.subject)
        with self._lock:
            known = self._known.get(name)
            if known and time.monotonic() - known[0] < _KNOWN_SECONDS:
                self._known.move_to_end(name)
                return known[1]
        try:
            found = self._stored(name) or self._made(name)
        except SQLAlchemyError as error:
            raise StorageUnavailable("the registry does not answer, so nothing can be recorded; try again") from error
        with self._lock:
            self._known[name] = (time.monotonic(), found)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def by_pseudonym(self, pseudonym: str) -> SubjectKey | None:
        """The key of whoever has this pseudonym; None where it was erased."""
        query = select(subject_keys.c.name, subject_keys.c.wrapped).where(subject_keys.c.pseudonym == pseudonym)
        with self._database.connect() as connection:
            row = connection.execute(query).one_or_none()
        return self._unwrapped(row.name, row.wrapped) if row else None

    def pseudonym_of(self, tenant: str, subject: str) -> str | None:
        """How this person is called in the trail; None where the key was erased or never made."""
        found = self._stored(self.name(tenant, subject))
        return found.pseudonym if found else None

    def erase(self, tenant: str, subject: str) -> bool:
        """Delete the key of a person: what the trail holds of them is nobody's then. False where there was none.

        Other processes forget it within a minute.
        """
        name = self.name(tenant, subject)
        with self._database.begin() as connection:
            gone = connection.execute(delete(subject_keys).where(subject_keys.c.name == name)).rowcount
        with self._lock:
            self._known.pop(name, None)
        return bool(gone)

    def _stored(self, name: str) -> SubjectKey | None:
        with self._database.connect() as connection:
            query = select(subject_keys.c.wrapped).where(subject_keys.c.name == name)
            wrapped = connection.execute(query).scalar_one_or_none()
        return self._unwrapped(name, wrapped) if wrapped else None

    def _made(self, name: str) -> SubjectKey:
        key = os.urandom(_KEY_BYTES)
        wrapped = self.wrap(key, name)
        made = _subject_key(key)
        row = {"name": name, "wrapped": wrapped, "pseudonym": made.pseudonym, "created_at": int(time.time())}
        try:
            with self._database.begin() as connection:
                connection.execute(insert(subject_keys).values(row))
        except IntegrityError:  # another process was faster
            return self._stored(name) or self._made(name)
        return made

    def _unwrapped(self, name: str, wrapped: str) -> SubjectKey:
        return _subject_key(self.unwrap(wrapped, name))


def _subject_key(key: bytes) -> SubjectKey:
    return SubjectKey(hmac.new(key, b"pseudonym", hashlib.sha256).hexdigest()[:32], key)
