"""The schema of `configs/*.yaml`."""

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
from rag.settings.generation import (
    EngineName,
    GenerationSettings,
    MistralSettings,
    OpenAICompatibleSettings,
    SimulatedSettings,
)
from rag.settings.identity import IdentitySettings, KeySettings, OidcSettings
from rag.settings.limits import AdmissionSettings, LimitSettings, RateSettings
from rag.settings.loading import Settings, load_settings, missing_variables
from rag.settings.observing import LoggingSettings, MetricsSettings, TracingSettings
from rag.settings.preflight import OperatorSettings, PreflightSettings
from rag.settings.privacy import PrivacySettings
from rag.settings.proxy import ProxySettings
from rag.settings.section import Section
from rag.settings.serving import ServerSettings

__all__ = [
    "AdmissionSettings",
    "BackupSettings",
    "CacheSettings",
    "CollectionSettings",
    "ContactSettings",
    "EmbeddingSettings",
    "EngineName",
    "GenerationSettings",
    "IdentitySettings",
    "IngestionSettings",
    "KeySettings",
    "LimitSettings",
    "LoggingSettings",
    "MetricsSettings",
    "MistralSettings",
    "ModelsSettings",
    "OidcSettings",
    "OpenAICompatibleSettings",
    "OperatorSettings",
    "ParsingSettings",
    "PreflightSettings",
    "PrivacySettings",
    "PromptSettings",
    "ProxySettings",
    "QuestionSettings",
    "RateSettings",
    "RedisSettings",
    "RefusalSettings",
    "RetrievalSettings",
    "Section",
    "ServerSettings",
    "Settings",
    "SimulatedSettings",
    "SourceSettings",
    "SplittingSettings",
    "StorageSettings",
    "StreamingSettings",
    "TracingSettings",
    "VerificationSettings",
    "load_settings",
    "missing_variables",
]
