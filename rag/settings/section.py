"""What all parts of the configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rag.operations.logging_secrets import without_url_passwords


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt key must not be a silent default.

    Whoever prints it sees no secret: keys are `SecretStr`, and URLs lose user and password. Errors repeat no value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        return without_url_passwords(super().__repr__())

    def __str__(self) -> str:
        return without_url_passwords(super().__str__())
