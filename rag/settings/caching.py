"""Redis, which processes and machines share, and the answers that are kept there."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator

from rag.settings.secrecy import is_placeholder
from rag.settings.section import Section

_LEAST_CHARACTERS: Final = 32
_LEAST_DIFFERENT: Final = 8


class RedisSettings(Section):
    """Where Redis is, and how long anybody waits for it. An empty `url` means that there is none."""

    url: SecretStr
    timeout_seconds: float = Field(gt=0)
    call_seconds: float = Field(gt=0)
    max_connections: int = Field(ge=1)
    breaker_failures: int = Field(ge=1)
    breaker_rest_seconds: float = Field(gt=0)


class CacheSettings(Section):
    """Which answers are given again. An empty `secret` means one of this data folder, made on first use."""

    mode: Literal["on", "off"]
    secret: SecretStr
    entries: int = Field(ge=1)
    ttl_seconds: float = Field(gt=0)
    ttl_jitter: float = Field(ge=0, lt=1)
    flight_seconds: float = Field(ge=0.1)

    @field_validator("secret", mode="before")
    @classmethod
    def _numbers_are_secrets_too(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value

    @field_validator("secret")
    @classmethod
    def _no_placeholder(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if text and (len(text) < _LEAST_CHARACTERS or len(set(text)) < _LEAST_DIFFERENT or is_placeholder(text)):
            raise ValueError(
                f"this is no secret: take at least {_LEAST_CHARACTERS} random characters, as `openssl rand -hex 32` "
                "prints, the same on all nodes"
            )
        return secret
