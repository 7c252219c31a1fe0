"""How much is worked on at the same time, who waits, and what one person may take."""

from __future__ import annotations

from pydantic import Field

from rag.settings.section import Section


class AdmissionSettings(Section):
    """The door of one Assistant process: so many questions inside, so many waiting, nobody else."""

    slots: int | None = Field(ge=1)
    user_slots: int | None = Field(ge=1)
    queue: int = Field(ge=0)
    queue_seconds: float = Field(gt=0)


class RateSettings(Section):
    """What one user, key or tenant may take; None is no limit."""

    requests_per_minute: int | None = Field(ge=1)
    tokens_per_day: int | None = Field(ge=1)


class LimitSettings(Section):
    """Rates for whoever asks, shared by all processes where there is Redis."""

    user: RateSettings
    key: RateSettings
    tenant: RateSettings
    without_redis: float = Field(gt=0, le=1)
