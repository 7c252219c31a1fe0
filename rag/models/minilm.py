"""all-MiniLM-L6-v2 as a LlamaIndex embedding, wherever the network runs."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag.models.batching import load_tokenizer
from rag.models.identity import fingerprint
from rag.models.microbatching import Microbatcher
from rag.models.weights import Weights


class MiniLM(BaseEmbedding):
    """Unit vectors of 384 numbers. Safe for several threads and event loops at once.

    A text longer than 256 word pieces counts with its beginning only, as the model was made; splitting keeps chunks
    within that. Questions that coroutines ask at the same time are merged into one call of `embed`.
    """

    _tokenizer: Tokenizer = PrivateAttr()
    _questions: Microbatcher[str, NDArray[np.float32]] = PrivateAttr()

    def __init__(self, weights: Weights, *, model: str, max_texts: int) -> None:
        super().__init__(model_name=model, embed_batch_size=2048)  # LlamaIndex hands over long lists; we sort and slice
        self._tokenizer = load_tokenizer(weights)
        self._questions = Microbatcher(lambda texts: list(self.embed(texts)), max_texts)

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32[len(texts), 384] in the order of `texts`, which may be empty, and may hold empty texts.

        Raises:
            TypeError: something in `texts` is not a string.
            ModelError: the runtime failed, or gave numbers that are not finite.
        """

    @property
    @abstractmethod
    def backend(self) -> str:
        """The runtime: onnx, openvino, sentence_transformers or service."""

    @property
    @abstractmethod
    def model_calls(self) -> int:
        """Forward passes that this object asked for; fewer than questions when questions were merged."""

    @property
    def fingerprint(self) -> str:
        """See the function of this name."""
        return fingerprint()

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokeniser, without padding and without a cut."""
        return self._tokenizer

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex records."""
        return "MiniLM"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.embed(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        require_strings([query])  # here, before it could spoil the batch of its neighbours
        vector: list[float] = (await self._questions.run(query)).tolist()
        return vector

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def require_strings(texts: Sequence[str]) -> None:
    """Raises `TypeError` unless `texts` is a sequence of strings, and not one string, which would be its letters."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError("embedding takes a sequence of strings")
