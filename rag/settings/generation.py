"""The engines that write answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from rag.settings.section import Section

EngineName = Literal["extractive", "mistral", "huggingface", "openai_compatible", "simulated"]


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
