"""Redis, which processes and machines share."""

from __future__ import annotations

from pydantic import Field, SecretStr

from rag.settings.section import Section


class RedisSettings(Section):
    """Where Redis is, and how long anybody waits for it. An empty `url` means that there is none."""

    url: SecretStr
    timeout_seconds: float = Field(gt=0)
    call_seconds: float = Field(gt=0)
    max_connections: int = Field(ge=1)
    breaker_failures: int = Field(ge=1)
    breaker_rest_seconds: float = Field(gt=0)
