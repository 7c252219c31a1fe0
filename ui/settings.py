"""What the UI reads from the environment. It has no configuration file: it knows nothing of the rest of BankSight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, ValidationError

PREFIX = "BANKSIGHT_"


class SettingsError(ValueError):
    """A variable of the environment cannot be used; the text names it."""


class UiSettings(BaseModel):
    """Where the API is and how patient the UI is. Each field is read from `BANKSIGHT_<FIELD>` in the environment."""

    model_config = ConfigDict(frozen=True)

    api_url: AnyHttpUrl = Field(default=AnyHttpUrl("http://127.0.0.1:3000"))
    ui_connect_seconds: float = Field(default=3, gt=0)  # to open a connection to the API
    ui_silence_seconds: float = Field(default=25, gt=0)  # without a byte; the API sends a heartbeat every second
    ui_answer_seconds: float = Field(default=120, gt=0)  # for one answer as a whole
    ui_max_question_characters: int = Field(default=4000, gt=0)  # the API refuses longer questions as well
    ui_history_turns: int = Field(default=4, ge=0)  # earlier questions with their answers, sent with the next one

    ui_database_url: str = ""  # of the conversations, SQLite or PostgreSQL; `banksight ui` sets it
    # How people sign in: none, or with their key of the API, which then is sent with each of their questions.
    ui_login: Literal["none", "key"] = "none"
    ui_listens: Literal["loopback", "network"] = "network"  # whom the port reaches; `banksight ui` sets it

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings that this environment describes; empty variables count as absent.

        Raises SettingsError naming the variable that cannot be used.
        """
        names = {f"{PREFIX}{field.upper()}": field for field in cls.model_fields}
        given = {field: environment[name] for name, field in names.items() if environment.get(name)}
        try:
            return cls.model_validate(given)
        except ValidationError as problem:
            field = str(problem.errors()[0]["loc"][0])
            message = f"{PREFIX}{field.upper()}={given[field]!r} cannot be used: {problem.errors()[0]['msg']}."
            raise SettingsError(message) from problem

    @property
    def api_base(self) -> str:
        """The API's address without a slash at its end."""
        return str(self.api_url).rstrip("/")
