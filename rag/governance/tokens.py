"""Access tokens (RFC 9068): which count, and whom they speak for.

The key comes from the configured issuer alone, the algorithm from the key; what a token's header says of keys elsewhere
(`jku`, `x5u`, `jwk`) is never looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import PyJWTError

from rag.domain import Principal
from rag.errors import NotSignedIn
from rag.governance.roles import expanded
from rag.governance.signing_keys import SigningKeys
from rag.settings.identity import TENANT_PATTERN, OidcSettings

logger = logging.getLogger(__name__)

_REQUIRED: Final = ["exp", "nbf", "iat", "iss", "aud", "sub"]
_OF_ID_TOKENS: Final = frozenset({"nonce", "at_hash", "c_hash"})
_MOST_CHARACTERS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature and times are right. `one` stands for it alone, `all_of_subject` for its subject's."""

    principal: Principal
    issued_at: int
    expires_at: int
    one: str
    all_of_subject: str


class _Refused(Exception):
    """Why a token does not count; for the log, never for the caller."""


class TokenVerifier:
    """Checks access tokens of one issuer."""

    def __init__(self, settings: OidcSettings, tenant: str, keys: SigningKeys | None = None) -> None:
        self._settings = settings
        self._tenant = tenant
        self._keys = keys or SigningKeys(settings)

    async def verify(self, text: str) -> Token:
        """The token. Raises `NotSignedIn`, and `StorageUnavailable` when the issuer's keys were never reached."""
        try:
            header = self._header(text)
            key = self._keys.known(header["kid"]) or await asyncio.to_thread(self._keys.find, header["kid"])
            if key is None:
                raise _Refused("unknown key id")
            if key.algorithm_name != header["alg"]:
                raise _Refused("the key is for another algorithm")
            return self._token(self._claims(text, key))
        except (_Refused, PyJWTError) as error:
            logger.info("token refused: %s", error if isinstance(error, _Refused) else type(error).__name__)
            raise NotSignedIn(presented=True) from None

    def _header(self, text: str) -> dict[str, str]:
        if len(text) > _MOST_CHARACTERS:
            raise _Refused("too long")
        header = jwt.get_unverified_header(text)
        if header.get("alg") not in self._settings.algorithms:
            raise _Refused("algorithm")
        typ = str(header.get("typ", "")).lower().removeprefix("application/")
        if typ not in {each.lower() for each in self._settings.token_types}:
            raise _Refused("type")
        if "crit" in header or not isinstance(header.get("kid"), str):
            raise _Refused("header")
        return header

    def _claims(self, text: str, key: jwt.PyJWK) -> dict[str, Any]:
        claims = jwt.decode(
            text,
            key,
            algorithms=[key.algorithm_name],
            audience=self._settings.audience,
            issuer=self._settings.issuer,
            leeway=self._settings.leeway_seconds,
            options={"require": _REQUIRED},
        )
        if _OF_ID_TOKENS & claims.keys() or str(claims.get("typ", "Bearer")) not in ("Bearer", "at+jwt"):
            raise _Refused("not an access token")
        return claims

    def _token(self, claims: Mapping[str, Any]) -> Token:
        subject, until = str(claims["sub"]), int(claims["exp"])
        if not 0 < len(subject) <= 255 or not subject.isprintable():
            raise _Refused("subject")
        settings = self._settings
        tenant = _at(claims, settings.tenant_claim) if settings.tenant_claim else self._tenant
        if not isinstance(tenant, str) or not re.fullmatch(TENANT_PATTERN, tenant):
            raise _Refused("tenant")
        roles = _mapped(_at(claims, settings.roles_claim), settings.roles)
        clearances = _mapped(_at(claims, settings.clearances_claim), settings.clearances)
        name = str(claims.get("jti") or f"{subject}\x1f{claims['iat']}")
        return Token(
            Principal(subject, tenant, expanded(roles), clearances),
            int(claims["iat"]),
            until + int(settings.leeway_seconds) + 1,
            _hashed("token", name),
            subject_key(subject),
        )


def subject_key(subject: str) -> str:
    """What stands for all tokens of a subject in the list of those that were signed out."""
    return _hashed("subject", subject)


def _hashed(kind: str, name: str) -> str:
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()}"


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at a path such as `realm_access.roles`, or at a name that itself has dots; None where there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _mapped(values: Any, mapping: Mapping[str, str]) -> frozenset[str]:
    """Values of a list, or of a text with spaces as `scope` is one, as the settings translate them."""
    listed = values.split() if isinstance(values, str) else values if isinstance(values, list) else []
    texts = [each for each in listed if isinstance(each, str)]
    return frozenset(mapping[each] for each in texts if each in mapping) if mapping else frozenset(texts)
