"""What the UI reads from the environment. It has no configuration file: it knows nothing of the rest of BankSight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from ui.guests import LOOPBACK

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

    ui_database_url: str = Field(default="", repr=False)  # of conversations; `banksight ui` sets it
    # How people sign in: not at all, with their key of the API, with a password, or at the bank's identity provider.
    # In all but the first what stands for the person is sent with each of their questions.
    ui_login: Literal["none", "key", "password", "oidc"] = "none"
    ui_password_characters: int = Field(default=15, ge=8)  # at least; NIST SP 800-63B-4, 3.1.1.2
    ui_listens: Literal["loopback", "network"] = "network"  # whom the port reaches; `banksight ui` sets it

    # With `oidc`. The provider must send people back to <public url>/auth/oauth/bank/callback.
    ui_public_url: str = ""  # of the chat, as browsers see it
    ui_oidc_issuer: str = ""  # exactly as the provider writes it
    ui_oidc_client: str = ""  # as the provider knows the chat
    ui_oidc_secret: SecretStr = SecretStr("")  # empty where the provider knows it as a public client
    ui_oidc_scope: str = Field(default="openid profile", pattern=r"(^|.* )openid( .*|$)")
    ui_oidc_parameters: str = ""  # more for the provider's page, such as `audience=https://api&prompt=login`
    ui_oidc_seconds: float = Field(default=10, gt=0)  # for one answer of the provider

    @field_validator("ui_public_url", "ui_oidc_issuer")
    @classmethod
    def _encrypted_or_here(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise ValueError("it must begin with https://, because who changes what it answers signs in as anybody")
        return url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings that this environment describes; empty variables count as absent.

        Raises SettingsError naming the variable that cannot be used.
        """
        names = {f"{PREFIX}{field.upper()}": field for field in cls.model_fields}
        given = {field: environment[name] for name, field in names.items() if environment.get(name)}
        try:
            settings = cls.model_validate(given)
        except ValidationError as problem:
            field = str(problem.errors()[0]["loc"][0])
            message = f"{PREFIX}{field.upper()}={given[field]!r} cannot be used: {problem.errors()[0]['msg']}."
            raise SettingsError(message) from problem
        needed = ("ui_public_url", "ui_oidc_issuer", "ui_oidc_client")
        if settings.ui_login == "oidc" and (missing := [each for each in needed if not getattr(settings, each)]):
            names_of_missing = ", ".join(f"{PREFIX}{each.upper()}" for each in missing)
            raise SettingsError(f"BANKSIGHT_UI_LOGIN=oidc needs {names_of_missing}.")
        return settings

    @property
    def api_base(self) -> str:
        """The API's address without a slash at its end."""
        return str(self.api_url).rstrip("/")
