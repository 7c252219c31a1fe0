"""Who a caller is, and what that person or program may do."""

from __future__ import annotations

from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from rag.operations.logging_secrets import without_url_passwords
from rag.settings.section import Section

Role = Literal["user", "analyst", "operator", "auditor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$")]
TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


def encrypted_or_here(url: str) -> str:
    """The address, when nobody on the way to it can change what it says. Raises `ValueError`."""
    parts = urlsplit(url)
    here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if url and parts.scheme != "https" and not here:
        shown = without_url_passwords(url)
        raise ValueError(f"{shown} must begin with https://: who changes its answer could sign in as anybody")
    return url


class KeySettings(Section):
    """Keys for programs. Without a `pepper` a file in the data folder holds one, made at the first key."""

    pepper: SecretStr
    days: int = Field(ge=1, le=366)
    overlap_hours: float = Field(ge=0, le=24 * 14)

    @field_validator("pepper")
    @classmethod
    def _long_enough(cls, pepper: SecretStr) -> SecretStr:
        if 0 < len(pepper.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters, such as `openssl rand -hex 32` prints")
        return pepper


class OidcSettings(Section):
    """Access tokens of the bank's own identity provider. Claims are named by path: `realm_access.roles`.

    `roles` and `clearances` map values of the claims to ours; empty, the values are taken as they are.
    """

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[Literal["RS256", "ES256"], ...] = Field(min_length=1)
    token_types: tuple[str, ...] = Field(min_length=1)
    leeway_seconds: float = Field(ge=0, le=30)
    timeout_seconds: float = Field(gt=0, le=10)
    keys_seconds: float = Field(gt=0)
    cooldown_seconds: float = Field(ge=0, le=30)
    tenant_claim: str
    roles_claim: str
    clearances_claim: str
    roles: dict[str, Role]
    clearances: dict[str, Label]

    _encrypted = field_validator("issuer", "jwks_url")(encrypted_or_here)


class IdentitySettings(Section):
    """Who a caller is. Mode `none` means that everybody who reaches the port is this one person; loopback only.

    `peers` says who may reach it then: this machine, or a private network where a gateway signs people in.
    """

    mode: Literal["none", "api_key", "oidc"]
    peers: Literal["loopback", "private_network"]
    subject: str
    roles: frozenset[Role]
    clearances: frozenset[str]
    keys: KeySettings
    oidc: OidcSettings

    @model_validator(mode="after")
    def _oidc_is_complete(self) -> IdentitySettings:
        if self.mode == "oidc" and not (self.oidc.issuer and self.oidc.audience):
            raise ValueError("mode oidc needs oidc.issuer and oidc.audience")
        return self

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine may call, because nobody signs in."""
        return self.mode == "none" and self.peers == "loopback"
