"""The schema of `configs/*.yaml`, and how they are merged: base, then profile, then environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from rag.errors import ConfigurationError
from rag.settings_files import from_environment, merge, read_yaml

EngineName = Literal["extractive", "mistral", "huggingface", "openai_compatible", "simulated"]


class Section(BaseModel):
    """A part of the configuration. Unknown keys are errors: a misspelt key must not be a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(Section):
    """One source of documents."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    kind: Literal["filesystem"] = "filesystem"
    collection: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")
    root: Path
    include: tuple[str, ...] = ("**/*",)
    exclude: tuple[str, ...] = ()


class CollectionSettings(Section):
    """What a suite tunes for one body of documents."""

    dense_weight: float = Field(ge=0, le=1)


class ParsingSettings(Section):
    """Limits under which hostile files are parsed."""

    timeout_seconds: float = Field(gt=0)
    memory_mib: int = Field(gt=0)
    max_bytes: int = Field(gt=0)
    max_pages: int = Field(gt=0)
    max_characters: int = Field(gt=0)
    workers: int = Field(ge=1)


class SplittingSettings(Section):
    """Sizes of chunks in word pieces of the embedding model."""

    window_tokens: int = Field(ge=32, le=256)
    overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> SplittingSettings:
        if self.overlap_tokens * 2 > self.window_tokens:
            raise ValueError("overlap_tokens must be at most half of window_tokens")
        return self


class EmbeddingSettings(Section):
    """Which encoder, on which back end."""

    model: str
    weights_dir: str
    graph_dir: str
    query_backend: Literal["onnx", "sentence_transformers"]
    bulk_backend: Literal["auto", "openvino", "onnx", "sentence_transformers"]
    threads: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    batch_pieces: int = Field(ge=256)
    max_text_characters: int = Field(ge=1)
    serving: Literal["in_process", "service"]
    max_batch_latency_ms: int = Field(gt=0)


class ModelsSettings(Section):
    """Where the files of models are kept, and where they are pulled from."""

    cache_dir: str
    endpoint: str = Field(pattern=r"^https?://")


class StorageSettings(Section):
    """Where the registry and the vectors live."""

    database_url: str
    chroma: Literal["embedded", "server"]
    chroma_host: str
    chroma_port: int
    chroma_timeout_seconds: float = Field(gt=0)


class IngestionSettings(Section):
    """How ingestion batches, and when it stops to ask."""

    window_chunks: int = Field(ge=1, le=5000)
    mass_delete_share: float = Field(gt=0, le=1)
    mass_delete_floor: int = Field(ge=0)


class RetrievalSettings(Section):
    """How many candidates, how many passages, and the weight of a collection that has none of its own."""

    candidates: int = Field(ge=10, le=1000)
    top_k: int = Field(ge=1)
    max_top_k: int = Field(ge=1)
    dense_weight: float = Field(ge=0, le=1)
    name_weight: float = Field(ge=0, le=1)
    figure_hints: Literal["on", "off"]


class QuestionSettings(Section):
    """What counts as a question."""

    max_characters: int = Field(ge=1)


class OpenAICompatibleSettings(Section):
    """A server that speaks OpenAI's dialect: vLLM, TGI, llama.cpp, Ollama, LMDeploy."""

    base_url: str
    model: str
    api_key: SecretStr
    context_window: int = Field(ge=256)
    connect_seconds: float = Field(gt=0)
    queue_limit: int = Field(ge=1)

    @field_validator("api_key", mode="before")
    @classmethod
    def _numbers_are_keys_too(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value


class MistralSettings(Section):
    """A model whose weights lie on this machine, and how it is run: `rag.models.engines.opening.EngineOptions`."""

    model: str
    backend: Literal["auto", "slots", "continuous", "static"]
    slots: int = Field(ge=1)
    queue_limit: int = Field(ge=0)
    context_window: int = Field(ge=256)
    quantization: Literal["nf4", "none"]
    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Literal["auto", "float32", "float16", "bfloat16"]
    chunk_tokens: int = Field(ge=1)


class SimulatedSettings(Section):
    """An engine for load tests: it quotes the passages at this pace, and fails as often as it is told."""

    tokens_per_second: float = Field(gt=0)
    first_token_seconds: float = Field(ge=0)
    crash_rate: float = Field(ge=0, le=1)
    hang_rate: float = Field(ge=0, le=1)
    garbage_rate: float = Field(ge=0, le=1)
    seed: int
    slots: int = Field(ge=1)
    queue_limit: int = Field(ge=0)

    @model_validator(mode="after")
    def _rates_are_shares(self) -> SimulatedSettings:
        if self.crash_rate + self.hang_rate + self.garbage_rate > 1:
            raise ValueError("crash_rate, hang_rate and garbage_rate are shares of the same requests: at most 1 in all")
        return self


class GenerationSettings(Section):
    """Which engine answers, which ones stand in for it, and what an engine may take."""

    engine: EngineName
    fallback: tuple[EngineName, ...]
    serving: Literal["in_process", "service"]
    max_sentences: int = Field(ge=1, le=10)
    passage_tokens: int = Field(ge=100)
    max_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    seed: int | None
    stop: tuple[str, ...] = Field(max_length=4)
    rewrite_seconds: float = Field(gt=0)
    first_token_seconds: float = Field(gt=0)
    token_seconds: float = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    breaker_failures: int = Field(ge=1)
    breaker_rest_seconds: float = Field(gt=0)
    mistral: MistralSettings
    openai_compatible: OpenAICompatibleSettings
    simulated: SimulatedSettings

    @model_validator(mode="after")
    def _every_engine_once(self) -> GenerationSettings:
        chain = (self.engine, *self.fallback)
        if len(set(chain)) < len(chain):
            raise ValueError("generation.fallback names an engine twice, or the one that it stands in for")
        return self

    @property
    def in_generator(self) -> EngineName | None:
        """The engine that the Generator service holds: with `serving: service`, the first that it can hold."""
        chain = (self.engine, *self.fallback) if self.serving == "service" else ()
        return next((each for each in chain if each in ("mistral", "simulated")), None)


class VerificationSettings(Section):
    """What a sentence of a language model must pass besides words and numbers."""

    arithmetic: Literal["shown", "named"]
    judge: Literal["none", "engine"]


class StreamingSettings(Section):
    """When generated text is sent."""

    release: Literal["sentence", "token"]


class RefusalSettings(Section):
    """When to refuse, and whom to point to."""

    threshold: float | None = Field(ge=0, le=1)
    contact: str


class ContactSettings(Section):
    """What people are told, word for word, when a person at the bank has to help them; a text for each topic."""

    self_harm: str = Field(min_length=1)
    fraud: str = Field(min_length=1)
    lost_card: str = Field(min_length=1)
    dispute: str = Field(min_length=1)
    hardship: str = Field(min_length=1)
    complaint: str = Field(min_length=1)
    person: str = Field(min_length=1)

    def text(self, topic: str) -> str:
        """The text for a topic, such as `fraud`."""
        return str(getattr(self, topic))


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


class LoggingSettings(Section):
    """How much is logged; never document text, questions or keys."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]


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
    ingestion: IngestionSettings
    retrieval: RetrievalSettings
    question: QuestionSettings
    generation: GenerationSettings
    verification: VerificationSettings
    streaming: StreamingSettings
    refusal: RefusalSettings
    contacts: ContactSettings
    server: ServerSettings
    identity: IdentitySettings
    logging: LoggingSettings

    @model_validator(mode="after")
    def _one_owner_of_embedded_chroma(self) -> Settings:
        if self.server.workers > 1 and self.storage.chroma == "embedded":
            raise ValueError("server.workers > 1 needs storage.chroma: server, because embedded Chroma has one owner")
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
    folder = (config_dir or Path(environment.get("BANKSIGHT_CONFIG_DIR") or _beside_package())).resolve()
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


def _beside_package() -> Path:
    return Path(__file__).parent.parent / "configs"


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"the configuration lacks {error}"
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the configuration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
