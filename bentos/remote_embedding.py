"""MiniLM in another process: the embedding that the Assistant uses with `embedding.serving: service`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import numpy as np
from bentoml.exceptions import BentoMLException, ServiceUnavailable
from llama_index.core.bridge.pydantic import PrivateAttr
from numpy.typing import NDArray

from bentos.embedder import MAX_TEXTS, Embedder
from rag.errors import Busy, ModelError
from rag.models.embedding import MiniLM
from rag.models.encoders import DIMENSIONS
from rag.models.minilm import require_strings
from rag.models.weights import find_weights
from rag.operations import deadline
from rag.operations.tracing import client_span
from rag.settings import EmbeddingSettings

logger = logging.getLogger(__name__)

_LONGEST_SECONDS: Final = 120.0  # of a call without a deadline, as in ingestion
_SERVICE_MEDIA_TYPE: Final = "application/vnd.bentoml+pickle"


class RemoteMiniLM(MiniLM):
    """`MiniLM` that sends its texts to the Embedder service. The tokeniser is local. `close` it in the end."""

    _client: _Client = PrivateAttr()
    _max_characters: int = PrivateAttr()
    _calls: int = PrivateAttr(default=0)
    _counting: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, dependency: Any, settings: EmbeddingSettings) -> None:
        """`dependency` is what `bentoml.depends(Embedder)` gives an instance of the service that depends on it."""
        super().__init__(find_weights(settings.weights_dir), model=settings.model, max_texts=MAX_TEXTS)
        self._client = _Client(dependency)
        self._max_characters = settings.max_text_characters

    @property
    def backend(self) -> str:
        """See `MiniLM`."""
        return "service"

    @property
    def model_calls(self) -> int:
        """Requests sent; the service merges those of several processes, and counts forward passes in its metrics."""
        return self._calls

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `MiniLM`. Of a text beyond `embedding.max_text_characters` the start is sent: the model reads no more.

        Raises:
            Busy: the service is starting, at its limit or not answering.
        """
        require_strings(texts)
        readable = [text[: self._max_characters].encode("utf-8", "replace").decode("utf-8") for text in texts]
        with client_span(f"embeddings {self.model_name}", self._described(readable)):
            parts = [self._client.encode(readable[i : i + MAX_TEXTS]) for i in range(0, len(readable), MAX_TEXTS)]
        with self._counting:
            self._calls += len(parts)
        vectors = np.concatenate([np.empty((0, DIMENSIONS), dtype=np.float32), *parts])
        if vectors.shape != (len(texts), DIMENSIONS) or not np.isfinite(vectors).all():
            raise ModelError(
                "the Embedder service gave something else than one vector per text: restart it, and report it"
            )
        return vectors

    def _described(self, texts: Sequence[str]) -> dict[str, str | int]:
        return {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": self.model_name,
            "banksight.texts": len(texts),
        }

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class _Client:
    """BentoML's client on an event loop of its own.

    Its connections belong to one loop. The dependency's own client is used by BentoML's readiness check on the loop of
    the service, while we embed from worker threads, so this is a second client of the same kind and address.
    """

    def __init__(self, dependency: Any) -> None:
        self._proxy = type(dependency)(dependency.to_async.url, service=Embedder, media_type=_SERVICE_MEDIA_TYPE)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedder-client", daemon=True)
        self._thread.start()

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of at most `MAX_TEXTS` texts, from any thread but the client's own."""
        deadline.check()
        asked = asyncio.run_coroutine_threadsafe(self._encode(texts), self._loop)
        try:
            vectors: NDArray[np.float32] = asked.result(deadline.remaining(_LONGEST_SECONDS))
        finally:
            asked.cancel()
        return vectors

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._proxy.close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Tried twice: embedding has no side effect, and the other side may have closed an idle connection."""
        try:
            try:
                return await self._request(texts)
            except aiohttp.ClientConnectionError as error:
                logger.info("the connection to the embedding service was lost, trying again: %s", type(error).__name__)
                return await self._request(texts)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Busy("The embedding service does not answer; try again in a moment.") from error
        except ServiceUnavailable as error:
            raise Busy("The embedding service is starting or at its limit; try again in a moment.") from error
        except BentoMLException as error:
            raise ModelError("the embedding service failed; its log says why") from error

    async def _request(self, texts: list[str]) -> NDArray[np.float32]:
        return np.asarray(await self._proxy.to_async.call("encode", texts=texts), dtype=np.float32)
