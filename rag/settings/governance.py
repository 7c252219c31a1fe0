"""What is kept as proof of what was answered and done, and for how long."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from rag.settings.section import Section

_LEAST_CHARACTERS = 32


class AuditSettings(Section):
    """The audit trail. Empty folders are `audit` and `audit-spool` in the data folder.

    Without a `secret` a file in the data folder holds one, made at the first start.
    """

    dir: str
    spool_dir: str
    spool_bytes: int = Field(ge=0)
    secret: SecretStr
    anchor_minutes: float = Field(gt=0)
    anchor_dir: str
    keep_days: int = Field(ge=1)

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < _LEAST_CHARACTERS:
            raise ValueError(f"needs at least {_LEAST_CHARACTERS} characters, such as `openssl rand -hex 32` prints")
        return secret
