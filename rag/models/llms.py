"""From the configuration to the `LLM` that answers. What an engine needs is imported when that engine is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from llama_index.core.llms import LLM

from rag.errors import ConfigurationError
from rag.models.engine import Decoding, Engine, EngineStats
from rag.models.engine_llm import EngineLLM, MistralLLM, OpenAICompatibleLLM, SimulatedLLM
from rag.models.extractive import ExtractiveLLM
from rag.query.similarity import Encoder
from rag.settings import EngineName, GenerationSettings

Weights = Callable[
    [str], Path
]  # from a model's name to a folder that may be loaded; raises ConfigurationError, ModelError


def open_llm(
    name: EngineName, settings: GenerationSettings, encoder: Encoder, weights: Weights, generator: Engine | None = None
) -> LLM:
    """The engine `name`. `generator` is the Generator service's engine, where it runs there and not in this process.

    Raises `ConfigurationError` and `ModelError` when it cannot be opened. A model in this process is loaded now, which
    takes from seconds to minutes.
    """
    if name == "extractive":
        return ExtractiveLLM(embedding=encoder, max_sentences=settings.max_sentences)
    if name == "huggingface":
        return _huggingface(settings, weights)
    engine = (
        generator if generator is not None and name == settings.in_generator else open_named(name, settings, weights)
    )
    return _LLMS[name](
        engine=engine,
        decoding=decoding_of(settings),
        deadline_seconds=settings.deadline_seconds,
        token_deadline_seconds=settings.token_seconds,
    )


def decoding_of(settings: GenerationSettings) -> Decoding:
    """How the configuration wants tokens to be chosen."""
    return Decoding(settings.max_tokens, settings.temperature, settings.top_p, settings.stop, settings.seed)


def open_named(name: EngineName, settings: GenerationSettings, weights: Weights) -> Engine:
    """The engine `name`, in this process. Raises as `open_llm`, and `ConfigurationError` for one that is none."""
    if name not in _OPEN:
        raise ConfigurationError(f"{name} is not an engine that generates for many at once")
    return _OPEN[name](settings, weights)


def _mistral(settings: GenerationSettings, weights: Weights) -> Engine:
    from rag.models.engines.opening import EngineOptions, open_engine  # noqa: PLC0415

    chosen = settings.mistral
    options = EngineOptions(
        chosen.backend,
        chosen.slots,
        chosen.queue_limit,
        chosen.context_window,
        chosen.quantization,
        chosen.device,
        chosen.precision,
        chosen.chunk_tokens,
    )
    return open_engine(weights(chosen.model), options)


def _huggingface(settings: GenerationSettings, weights: Weights) -> LLM:
    from rag.models.engines.loading import load_model  # noqa: PLC0415
    from rag.models.huggingface import open_huggingface  # noqa: PLC0415

    chosen = settings.mistral
    loaded = load_model(weights(chosen.model), chosen.quantization, chosen.device, chosen.precision)
    return open_huggingface(loaded, decoding_of(settings), chosen.context_window)


def _simulated(settings: GenerationSettings, _: Weights) -> Engine:
    from rag.models.engines.simulated import Faults, Pace, SimulatedEngine  # noqa: PLC0415

    chosen = settings.simulated
    return SimulatedEngine(
        Pace(chosen.first_token_seconds, chosen.tokens_per_second),
        Faults(chosen.crash_rate, chosen.hang_rate, chosen.garbage_rate, chosen.seed),
        chosen.slots,
        chosen.queue_limit,
    )


def _openai_compatible(settings: GenerationSettings, _: Weights) -> Engine:
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


_OPEN: Final[dict[str, Callable[[GenerationSettings, Weights], Engine]]] = {
    "mistral": _mistral,
    "openai_compatible": _openai_compatible,
    "simulated": _simulated,
}
_LLMS: Final[dict[str, type[EngineLLM]]] = {
    "mistral": MistralLLM,
    "openai_compatible": OpenAICompatibleLLM,
    "simulated": SimulatedLLM,
}


def engine_stats(llms: Iterable[LLM]) -> dict[str, EngineStats]:
    """What the engines of these `LLM`s do now, by the names under which answers show them."""
    return {each.class_name(): each.engine.stats() for each in llms if isinstance(each, EngineLLM)}


def close_llm(llm: Any) -> None:
    """Give back what the engine holds: threads, connections, the card's memory."""
    if isinstance(llm, EngineLLM):
        llm.close()
