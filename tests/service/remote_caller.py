"""A service that embeds through `RemoteMiniLM`, as the Assistant does with `embedding.serving: service`."""

from __future__ import annotations

import logging

import bentoml

from bentos.embedder import Embedder
from bentos.remote_embedding import RemoteMiniLM
from rag.settings import load_settings

logging.getLogger("bentos").setLevel(logging.INFO)


@bentoml.service(name="Caller", traffic={"timeout": 60}, threads=32)
class Caller:
    """Three ways to embed: a coroutine, a thread, and a list longer than one request may be."""

    embedder = bentoml.depends(Embedder)

    def __init__(self) -> None:
        self.embedding = RemoteMiniLM(self.embedder, load_settings().embedding)

    @bentoml.api  # type: ignore[untyped-decorator]
    async def ask(self, question: str) -> list[float]:
        """One question, from the event loop."""
        return await self.embedding.aget_query_embedding(question)

    @bentoml.api  # type: ignore[untyped-decorator]
    def embed(self, texts: list[str]) -> list[list[float]]:
        """Texts, from one of 32 threads."""
        vectors: list[list[float]] = self.embedding.embed(texts).tolist()
        return vectors

    @bentoml.api  # type: ignore[untyped-decorator]
    def facts(self) -> dict[str, str | int]:
        """What the embedding says about itself."""
        return {"fingerprint": self.embedding.fingerprint, "backend": self.embedding.backend}

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Close the connections."""
        self.embedding.close()
