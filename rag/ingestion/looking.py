"""A look at the sources before anything heavy is loaded: most runs of ingestion find nothing to do.

Reading the registry and listing the sources takes a fraction of a second; encoder, Chroma and LlamaIndex take three
seconds to import and open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from rag.domain import IngestReport
from rag.ingestion.comparing import Plan, compare
from rag.ingestion.identity import index_identity
from rag.ingestion.removing import is_settled
from rag.ingestion.run import Comparing, Run
from rag.ingestion.sources import opened_sources
from rag.models.identity import fingerprint
from rag.operations.recorded import note_ingested
from rag.settings import Settings
from rag.storage.database import open_database
from rag.storage.ownership import Ownership, owner_of
from rag.storage.registry import Registry


def report_if_unchanged(
    settings: Settings,
    names: Sequence[str] | None,
    *,
    mass_delete: Literal["refuse", "allow"] = "refuse",
    retry: Literal["changed", "failed"] = "changed",
) -> IngestReport | None:
    """The report of a run that has nothing to do; None where there is work, or another process owns the data folder.

    Nothing is written but the time, where it is a report of all sources. Raises `ConfigurationError`, `DataFolderInUse`
    or `StorageUnavailable` as the run would.
    """
    started = time.monotonic()
    if not settings.data_dir.is_dir() or owner_of(settings.data_dir) is not None:
        return None
    ownership = Ownership(settings.data_dir)
    try:
        registry = Registry(open_database(settings.database_url))
        try:
            if not _is_whole(registry, settings):
                return None
            run = Run()
            rules = Comparing(
                settings.tenant, settings.ingestion.mass_delete_share, settings.ingestion.mass_delete_floor
            )
            with opened_sources(settings, names) as sources:
                plan = compare(sources, registry, rules, run, mass_delete, retry)
            if plan != Plan([], []):
                return None
            report = IngestReport(tuple(run.outcomes), registry.snapshot(), time.monotonic() - started, 0, 0, 0)
            if names is None and not report.failed:
                note_ingested(registry)
            return report
        finally:
            registry.close()
    finally:
        ownership.release()


def _is_whole(registry: Registry, settings: Settings) -> bool:
    """True when this encoder and this splitting made the index, and no run was killed while it wrote."""
    identity = index_identity(fingerprint(), settings.splitting)
    return all(registry.value(key) == value for key, value in identity.items()) and is_settled(registry)
