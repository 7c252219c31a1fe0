"""From the configuration to the `LLM` that answers. What an engine needs is imported when that engine is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llama_index.core.llms import LLM

from rag.errors import ConfigurationError
from rag.models.engine import Decoding, Engine
from rag.models.engine_llm import EngineLLM, MistralLLM, OpenAICompatibleLLM, SimulatedLLM
from rag.models.extractive import ExtractiveLLM
from rag.query.similarity import Encoder
from rag.settings import EngineName, GenerationSettings


def open_llm(name: EngineName, settings: GenerationSettings, encoder: Encoder, mistral: Engine | None = None) -> LLM:
    """The engine `name`. `mistral` is the Generator service's, where the model runs there.

    Raises `ConfigurationError` and `ModelError` when it cannot be opened. A model in this process is loaded now.
    """
    if name == "extractive":
        return ExtractiveLLM(embedding=encoder, max_sentences=settings.max_sentences)
    if name not in _OPEN:
        raise ConfigurationError(f"generation names the engine {name}, which this version does not have yet")
    engine = mistral if name == "mistral" and mistral is not None else _OPEN[name](settings)
    return _LLMS[name](
        engine=engine,
        decoding=decoding_of(settings),
        deadline_seconds=settings.deadline_seconds,
        token_deadline_seconds=settings.token_seconds,
    )


def decoding_of(settings: GenerationSettings) -> Decoding:
    """How the configuration wants tokens to be chosen."""
    return Decoding(settings.max_tokens, settings.temperature, settings.top_p, settings.stop, settings.seed)


def _simulated(settings: GenerationSettings) -> Engine:
    from rag.models.engines.simulated import Faults, Pace, SimulatedEngine  # noqa: PLC0415

    chosen = settings.simulated
    return SimulatedEngine(
        Pace(chosen.first_token_seconds, chosen.tokens_per_second),
        Faults(chosen.crash_rate, chosen.hang_rate, chosen.garbage_rate, chosen.seed),
        chosen.slots,
        chosen.queue_limit,
    )


def _openai_compatible(settings: GenerationSettings) -> Engine:
    from rag.models.engines.openai_compatible import OpenAICompatibleEngine, Server  # noqa: PLC0415

    chosen = settings.openai_compatible
    return OpenAICompatibleEngine(
        Server(
            chosen.base_url,
            chosen.model,
            chosen.api_key.get_secret_value(),
            chosen.context_window,
            chosen.connect_seconds,
            chosen.queue_limit,
        )
    )


_OPEN: Final[dict[str, Callable[[GenerationSettings], Engine]]] = {
    "openai_compatible": _openai_compatible,
    "simulated": _simulated,
}
_LLMS: Final[dict[str, type[EngineLLM]]] = {
    "mistral": MistralLLM,
    "openai_compatible": OpenAICompatibleLLM,
    "simulated": SimulatedLLM,
}


def close_llm(llm: Any) -> None:
    """Give back what the engine holds: threads, connections, the card's memory."""
    if isinstance(llm, EngineLLM):
        llm.close()
