"""What happens to personal data in questions, answers and exports, and where the chat keeps conversations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from rag.settings.section import Section

Kind = Literal[
    "account", "bic", "card", "email", "iban", "ip", "itin", "passport", "phone", "resident_id", "routing", "ssn"
]
Policy = Literal["allow", "mask", "pseudonymise", "block"]
Region = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class PrivacySettings(Section):
    """A policy for each kind of personal data; kinds that are not named are allowed.

    `regions` are ISO 3166 alpha-2, the bank's own first. An empty `conversations_url` is the chat of this data folder.
    """

    regions: tuple[Region, ...] = Field(min_length=1)
    questions: dict[Kind, Policy]
    answers: dict[Kind, Literal["allow", "mask", "pseudonymise"]]
    exports: dict[Kind, Literal["allow", "mask", "pseudonymise"]]
    conversations_url: SecretStr
