"""What people agree to before they ask."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rag.settings.section import Section

Purpose = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class PurposeSettings(Section):
    """A purpose for which personal data are used. A changed `text` needs a new `version`: people are asked again."""

    version: str = Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")
    text: str = Field(min_length=1, max_length=2000)


class ConsentSettings(Section):
    """Which purposes there are, and without which of them nothing is answered."""

    required: tuple[Purpose, ...]
    purposes: dict[Purpose, PurposeSettings]

    @model_validator(mode="after")
    def _required_is_known(self) -> ConsentSettings:
        if unknown := set(self.required) - set(self.purposes):
            raise ValueError(f"required names {min(unknown)}, which is not among purposes")
        return self
