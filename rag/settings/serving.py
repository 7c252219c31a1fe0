"""Addresses and people."""

from __future__ import annotations

from typing import Literal

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


class IdentitySettings(Section):
    """Who a caller is. Mode `none` means that everybody who reaches the port is this one person; loopback only.

    `peers` says who may reach it: this machine, or a private network where a gateway signs people in.
    """

    mode: Literal["none"]
    peers: Literal["loopback", "private_network"]
    subject: str
    roles: frozenset[str]
    clearances: frozenset[str]
