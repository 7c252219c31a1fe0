"""Logs, traces and metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rag.settings.section import Section


class LoggingSettings(Section):
    """What is logged, in which form and where; never document text, questions or keys.

    `form` is that of standard error. In `dir` there is a file of JSON lines for each day, whatever `form` says.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    form: Literal["human", "json"]
    requests: Literal["each", "none"]
    dir: str
    keep_days: int = Field(ge=1)


class TracingSettings(Section):
    """Where spans go, by OTLP over HTTP; empty: nowhere. `share` of traces are kept."""

    endpoint: str
    share: float = Field(ge=0, le=1)


class MetricsSettings(Section):
    """Who may read `/metrics` and the documentation of the API: see `bentos/internal.py`."""

    readers: Literal["everybody", "private_network"]
