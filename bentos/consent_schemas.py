"""What travels about consent and erasure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bentos.schemas import Wire

ERASURE_ID = r"^[0-9a-f]{32}$"
PURPOSE = r"^[a-z][a-z0-9_]{0,30}$"


class ConsentRequest(Wire):
    """To what somebody agrees."""

    purpose: str = Field(pattern=PURPOSE)
    version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$", description="Of the text that was read.")


class Consent(Wire):
    """A purpose and what the caller said to it. `version` and `text` hold now; times are seconds since 1970."""

    purpose: str
    version: str
    text: str
    required: bool
    state: Literal["given", "outdated", "withdrawn", "missing"]
    given_at: int | None
    withdrawn_at: int | None


class ConsentList(Wire):
    """All purposes."""

    consents: list[Consent]


class Erasure(Wire):
    """An erasure. The certificate says what was erased where, and is signed; null while it is not done."""

    id: str
    certificate: dict[str, Any] | None
