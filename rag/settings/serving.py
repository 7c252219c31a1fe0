"""Addresses."""

from __future__ import annotations

from pydantic import Field

from rag.settings.section import Section


class ServerSettings(Section):
    """Addresses and limits of the API and the UI."""

    host: str
    port: int = Field(ge=1, le=65535)
    ui_host: str
    ui_port: int = Field(ge=1, le=65535)
    workers: int = Field(ge=1)
    max_concurrency: int = Field(ge=1)
    deadline_seconds: float = Field(gt=0)
    heartbeat_seconds: float = Field(gt=0)
    drain_seconds: float = Field(gt=0, le=28)  # BentoML kills a process 30 s after it was asked to end
    drain_notice_seconds: float = Field(ge=0)
    max_upload_bytes: int = Field(gt=0)
    allowed_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
