"""The generating engine of the configuration, for judging and drafting."""

from __future__ import annotations

from functools import partial

from llama_index.core.llms import LLM

from rag.errors import ConfigurationError
from rag.models.embedding import open_embedding
from rag.models.llms import open_llm
from rag.models.places import verified_folder
from rag.settings import Settings


def open_engine_llm(settings: Settings) -> LLM:
    """The engine that the configuration names. Raises `ConfigurationError` for one that only quotes."""
    engine = settings.generation.engine
    if engine == "extractive":
        raise ConfigurationError(
            "this needs a language model, and generation.engine is extractive, which only quotes; set "
            "BANKSIGHT__GENERATION__ENGINE, for instance to openai_compatible"
        )
    encoder = open_embedding(settings.embedding, settings.data_dir / "models", "query")
    return open_llm(engine, settings.generation, encoder, partial(verified_folder, settings=settings))
