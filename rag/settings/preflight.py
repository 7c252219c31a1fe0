"""What `banksight preflight` expects of production, and whom its operators call."""

from __future__ import annotations

from pydantic import Field

from rag.settings.section import Section


class PreflightSettings(Section):
    """The least that is enough, in the units that `configs/base.yaml` names."""

    certificate_days: int = Field(ge=1)
    disk_gib: float = Field(gt=0)
    node_mib: int = Field(ge=1)
    process_mib: int = Field(ge=1)
    backup_hours: float = Field(gt=0)
    patience_seconds: float = Field(gt=0)


class OperatorSettings(Section):
    """People, by what they are called for: a name, a number, an address. Empty: nobody is named."""

    on_call: str
    security: str
    data_protection: str
