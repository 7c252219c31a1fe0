"""Where backups go, how long they are kept, and what they hold besides the corpus."""

from __future__ import annotations

from pydantic import Field, SecretStr

from rag.settings.section import Section


class BackupSettings(Section):
    """The restic repository, and what `banksight backup` does with it."""

    repository: str
    password_file: str
    options: tuple[str, ...]
    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr
    keep_days: int = Field(ge=1)
    questions: int = Field(ge=0, le=1000)
    folders: tuple[str, ...]
    wait_seconds: float = Field(ge=0)
