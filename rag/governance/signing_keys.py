"""The keys with which an identity provider signs its tokens: fetched seldom, kept while it is down.

A token can make us ask for keys at most once per cool-down, whatever key ids it names.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from rag.errors import StorageUnavailable
from rag.settings.identity import OidcSettings, encrypted_or_here

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 1024 * 1024
_RSA_BITS: Final = 2048
_KINDS: Final = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the issuer published, and when that was fetched (on the monotonic clock)."""

    by_id: dict[str, PyJWK] = field(default_factory=dict)
    fetched: float = float("-inf")


class SigningKeys:
    """An issuer's public keys. Safe for several threads; only one of them asks the issuer, the others go on."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = _Keys()
        self._asked = float("-inf")
        self._asking = threading.Lock()

    def known(self, key_id: str) -> PyJWK | None:
        """The key if it is here and young enough to be used without asking the issuer."""
        keys = self._keys
        return keys.by_id.get(key_id) if self._clock() - keys.fetched < self._settings.keys_seconds else None

    def find(self, key_id: str) -> PyJWK | None:
        """The key, after asking the issuer where that is due; None when it has no such key.

        An old key counts while the issuer does not answer. Raises `StorageUnavailable` when it never has.
        """
        if self._asking.acquire(blocking=not self._keys.by_id):
            try:
                if self.known(key_id) is None and self._clock() - self._asked >= self._cooldown():
                    self._fetch()
            finally:
                self._asking.release()
        if not self._keys.by_id:
            raise StorageUnavailable("the identity provider does not answer, so nobody can sign in; try again soon")
        return self._keys.by_id.get(key_id)

    def _cooldown(self) -> float:
        """Seconds between two questions; few while there is no key at all, because nobody can sign in then."""
        settings = self._settings
        most = settings.cooldown_seconds
        return most if self._keys.by_id else min(most, settings.timeout_seconds)

    def _fetch(self) -> None:
        self._asked = self._clock()
        try:
            published = _usable(self._document(self._where()))
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError, TimeoutError) as error:
            logger.warning("the identity provider's keys could not be fetched: %s", error)
            return
        if published:
            self._keys = _Keys(published, self._clock())
        else:
            logger.warning("the identity provider publishes no key that can be used; the old ones stay")

    def _where(self) -> str:
        """The address of the keys: configured, or as the issuer's discovery document says."""
        if self._settings.jwks_url:
            return self._settings.jwks_url
        issuer = self._settings.issuer
        found = self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found["issuer"] != issuer:
            raise ValueError("the discovery document is another issuer's")
        return encrypted_or_here(str(found["jwks_uri"]))

    def _document(self, url: str) -> Any:
        """A JSON document, whole within the time allowed. Redirects are not followed."""
        seconds = self._settings.timeout_seconds
        ends = time.monotonic() + seconds
        content = bytearray()
        with (
            httpx.Client(timeout=seconds, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"{url} answered with status {response.status_code}")
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > ends:
                    raise TimeoutError(f"{url} took longer than {seconds} s")
                if len(content) > _MOST_BYTES:
                    raise ValueError(f"{url} sends more than a list of keys")
        return json.loads(content)


def _usable(document: Any) -> dict[str, PyJWK]:
    """The keys for signatures of a kind that we accept, by id; keys that we do not understand are left out."""
    found = {}
    for entry in document["keys"]:
        algorithm = _KINDS.get((entry.get("kty"), entry.get("crv")))
        if algorithm is None or entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = PyJWK(entry, algorithm)
        except PyJWTError as error:
            logger.warning("a key of the identity provider cannot be read: %s", type(error).__name__)
            continue
        if algorithm == "ES256" or key.key.key_size >= _RSA_BITS:
            found[str(entry["kid"])] = key
    return found
