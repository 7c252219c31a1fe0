"""The whole configuration, and how files are merged into it: base, then profile, then environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from rag.errors import ConfigurationError
from rag.settings.answering import (
    ContactSettings,
    PromptSettings,
    QuestionSettings,
    RefusalSettings,
    StreamingSettings,
    VerificationSettings,
)
from rag.settings.backup import BackupSettings
from rag.settings.caching import CacheSettings, RedisSettings
from rag.settings.consent import ConsentSettings
from rag.settings.corpus import (
    CollectionSettings,
    EmbeddingSettings,
    IngestionSettings,
    ModelsSettings,
    ParsingSettings,
    RetrievalSettings,
    SourceSettings,
    SplittingSettings,
    StorageSettings,
)
from rag.settings.files import from_environment, merge, read_yaml, unset_variables
from rag.settings.generation import GenerationSettings
from rag.settings.governance import AuditSettings
from rag.settings.identity import IdentitySettings
from rag.settings.limits import AdmissionSettings, LimitSettings
from rag.settings.observing import LoggingSettings, MetricsSettings, TracingSettings
from rag.settings.preflight import OperatorSettings, PreflightSettings
from rag.settings.privacy import PrivacySettings
from rag.settings.proxy import ProxySettings
from rag.settings.section import Section
from rag.settings.serving import ServerSettings


class Settings(Section):
    """The whole configuration."""

    profile: str
    root: Path
    data_dir: Path
    tenant: str
    sources: tuple[SourceSettings, ...]
    collections: dict[str, CollectionSettings]
    parsing: ParsingSettings
    splitting: SplittingSettings
    embedding: EmbeddingSettings
    models: ModelsSettings
    storage: StorageSettings
    redis: RedisSettings
    cache: CacheSettings
    ingestion: IngestionSettings
    retrieval: RetrievalSettings
    question: QuestionSettings
    prompts: PromptSettings
    generation: GenerationSettings
    verification: VerificationSettings
    streaming: StreamingSettings
    refusal: RefusalSettings
    contacts: ContactSettings
    server: ServerSettings
    proxy: ProxySettings
    admission: AdmissionSettings
    limits: LimitSettings
    identity: IdentitySettings
    audit: AuditSettings
    consent: ConsentSettings
    privacy: PrivacySettings
    logging: LoggingSettings
    tracing: TracingSettings
    metrics: MetricsSettings
    backup: BackupSettings
    preflight: PreflightSettings
    operators: OperatorSettings

    @model_validator(mode="after")
    def _one_owner_of_embedded_chroma(self) -> Settings:
        if self.server.workers > 1 and self.ingestion.serving == "in_process":
            raise ValueError(
                "server.workers > 1 needs ingestion.serving: worker and storage.chroma: server: one process writes"
            )
        if self.ingestion.serving == "worker" and self.storage.chroma == "embedded":
            raise ValueError("ingestion.serving: worker needs storage.chroma: server: embedded Chroma has one owner")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources have the same name; names decide who owns a document")
        return self

    @model_validator(mode="after")
    def _time_is_left_to_fall_back(self) -> Settings:
        if self.generation.deadline_seconds >= self.server.deadline_seconds:
            raise ValueError(
                "generation.deadline_seconds must be less than server.deadline_seconds, "
                "or no time is left to answer when the engine took all of it"
            )
        return self

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the registry."""
        return self.storage.database_url or f"sqlite:///{self.data_dir / 'registry.sqlite3'}"

    @property
    def files_dir(self) -> Path:
        """The folder of originals and uploads, which all machines see."""
        return self.root / Path(self.storage.files_dir).expanduser() if self.storage.files_dir else self.data_dir

    @property
    def hides_internal_paths(self) -> bool:
        """Whether metrics and the API's documentation are for the private network only: `bentos/internal.py`."""
        return self.metrics.readers == "private_network" or self.identity.mode != "none"

    @property
    def audit_dir(self) -> Path:
        """The folder of the audit trail."""
        return self.root / Path(self.audit.dir).expanduser() if self.audit.dir else self.data_dir / "audit"

    @property
    def audit_spool_dir(self) -> Path:
        """The folder where its lines wait while it cannot be written."""
        chosen = self.audit.spool_dir
        return self.root / Path(chosen).expanduser() if chosen else self.data_dir / "audit-spool"

    @property
    def anchor_dir(self) -> Path:
        """The folder of its signed heads."""
        chosen = self.audit.anchor_dir
        return self.root / Path(chosen).expanduser() if chosen else self.audit_dir / "anchors"

    @property
    def log_dir(self) -> Path | None:
        """The folder of log files; None where only standard error is written."""
        return self.root / Path(self.logging.dir).expanduser() if self.logging.dir else None

    @property
    def prompts_dir(self) -> Path | None:
        """The folder of templates that replace shipped ones; None where there is none."""
        return self.root / Path(self.prompts.folder).expanduser() if self.prompts.folder else None

    @property
    def weights_cache(self) -> Path:
        """The folder that `banksight models pull` fills."""
        return (
            self.root / Path(self.models.cache_dir).expanduser() if self.models.cache_dir else self.data_dir / "weights"
        )


def load_settings(
    profile: str | None = None,
    *,
    config_dir: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The merged settings. Raises `ConfigurationError` that names the file and the key.

    `profile` defaults to `BANKSIGHT_PROFILE`, then `laptop`. `config_dir` defaults to `BANKSIGHT_CONFIG_DIR`, then the
    `configs` folder beside the `rag` package. `overrides` come last; nested mappings are merged.
    """
    environment = os.environ if environment is None else environment
    profile = profile or environment.get("BANKSIGHT_PROFILE") or "laptop"
    folder = (config_dir or config_folder(environment)).resolve()
    merged: dict[str, Any] = {}
    for name in ("base", profile):
        merged = merge(merged, read_yaml(folder / f"{name}.yaml", environment))
    merged = merge(merged, from_environment(environment))
    merged = merge(merged, dict(overrides or {}))
    root = folder.parent
    merged["profile"], merged["root"] = profile, root
    try:
        merged["data_dir"] = root / Path(str(merged["data_dir"])).expanduser()
        for source in merged.get("sources") or ():
            source["root"] = root / Path(str(source["root"])).expanduser()
        for key in ("weights_dir", "graph_dir"):
            if folder_name := merged["embedding"][key]:
                merged["embedding"][key] = str(root / Path(str(folder_name)).expanduser())
        return Settings.model_validate(merged)
    except (ValidationError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{_explain(error)} (files base.yaml and {profile}.yaml in {folder})") from error


def missing_variables(profile: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """All variables without which `load_settings` would fail, where that names the first one only."""
    files = (config_folder(environment) / f"{name}.yaml" for name in ("base", profile))
    return tuple(sorted(frozenset[str]().union(*(unset_variables(file, environment) for file in files))))


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where profiles are, if nothing else is said."""
    return Path(environment.get("BANKSIGHT_CONFIG_DIR") or Path(__file__).parent.parent.parent / "configs")


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"the configuration lacks {error}"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the configuration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
