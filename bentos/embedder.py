"""The BentoML service `Embedder`: one MiniLM for several API processes, which merges requests that wait together.

BentoML imports this module in its parent process and in every worker, so nothing heavy may be imported at its top.
Between services BentoML sends pickles: this service is for the machine's own processes, never for a public port.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import bentoml
import numpy as np
from bentoml.exceptions import ServiceUnavailable
from pydantic import Field, StringConstraints

from bentos.entrance import traced
from rag.settings import load_settings

if TYPE_CHECKING:
    from rag.models.embedding import MiniLM

logger = logging.getLogger(__name__)
settings = load_settings()

MAX_TEXTS: Final = 256  # of one request
_SECONDS: Final = 60.0  # for one request, waiting included

# Checked per request before requests are merged, so a bad text fails the request that brought it and no other.
Text = Annotated[str, StringConstraints(max_length=settings.embedding.max_text_characters)]
Texts = Annotated[list[Text], Field(max_length=MAX_TEXTS)]


@bentoml.service(
    name="Embedder",
    workers=1,
    traffic={"timeout": _SECONDS},
    # Otherwise a client of `bentoml.depends` closes its connections every 100 requests, while others are in flight, and
    # those are lost (bentoml/BentoML#5540). `max_age` must be a float.
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},  # ours are in `Traced`
)
class Embedder:
    """Unit vectors of all-MiniLM-L6-v2."""

    def __init__(self) -> None:
        # Only workers need these, not BentoML's parent process.
        from rag.operations.logging_setup import open_logging  # noqa: PLC0415
        from rag.operations.tracing import open_tracing  # noqa: PLC0415

        open_logging(settings, "embedder")
        self.end_tracing = open_tracing(settings.tracing, "banksight-embedder")
        # In the background: while a BentoML service is not made, its callers hang instead of being told.
        self._opening: Future[MiniLM] = ThreadPoolExecutor(1, thread_name_prefix="opening").submit(_open)

    @bentoml.api(batchable=True, max_batch_size=MAX_TEXTS, max_latency_ms=settings.embedding.max_batch_latency_ms)  # type: ignore[untyped-decorator]  # BentoML does not say what it returns
    def encode(self, texts: Texts) -> np.ndarray:
        """Unit vectors float32[len(texts), 384], in order. Callers send a list; merged calls arrive as one list."""
        from rag.operations.telemetry import EMBEDDED_TEXTS, EMBEDDING_CALLS  # noqa: PLC0415 - after BentoML has started

        embedding = self._opened()
        before = embedding.model_calls
        vectors = embedding.embed(texts)
        EMBEDDING_CALLS.inc(embedding.model_calls - before)
        EMBEDDED_TEXTS.inc(len(texts))
        return vectors

    def __is_ready__(self) -> bool:
        return self._opening.done() and self._opening.exception() is None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Send the last spans."""
        self.end_tracing()

    def _opened(self) -> MiniLM:
        if not self._opening.done():
            raise ServiceUnavailable("The embedding model is being loaded; try again in a moment.")
        if error := self._opening.exception():
            raise ServiceUnavailable(f"The embedding model could not be loaded: {error}")
        return self._opening.result()


cast(Any, Embedder).add_asgi_middleware(traced)  # the decorator makes it a bentoml.Service


def _open() -> MiniLM:
    from rag.models.embedding import open_embedding  # noqa: PLC0415 - takes seconds, and only workers need it

    try:
        embedding = open_embedding(settings.embedding, settings.data_dir / "models", "query")
        embedding.embed(["ready"])
    except Exception:
        logger.exception("the embedding model could not be loaded; this service answers 503 until it is restarted")
        raise
    return embedding
