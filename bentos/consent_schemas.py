"""What travels about consent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bentos.schemas import Wire

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
