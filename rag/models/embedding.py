"""all-MiniLM-L6-v2 as a LlamaIndex embedding, on the fastest runtime that gives the same vectors."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag.errors import ConfigurationError, ModelError
from rag.models.batching import load_cutting_tokenizer, load_tokenizer, plan_batches, tokenise
from rag.models.encoders import DIMENSIONS, Encoder, OnnxEncoder
from rag.models.equality import smallest_cosine
from rag.models.microbatching import Microbatcher
from rag.models.onnx_file import MAX_LENGTH, ensure_graph, prepared_graph
from rag.models.weights import PINNED_DIGESTS, Weights, find_weights
from rag.settings import EmbeddingSettings

logger = logging.getLogger(__name__)

Purpose = Literal["query", "bulk"]
# Vectors of one class may be mixed in one index: each is within cosine 0.9999 of sentence-transformers in fp32.
NUMERIC_CLASS: Final = "fp32"


def fingerprint() -> str:
    """What an index stores to say which encoder made its vectors: 32 hexadecimal digits.

    A digest of the weights, the tokeniser, pooling, normalisation, the longest text and the numeric class. Runtimes
    that pass the equality gate are of one class, so a bulk-made index serves every query back end. Encoders that round
    further (int8: cosine 0.988 to 0.999) would be another class, and another fingerprint.
    """
    identity = {
        "files": PINNED_DIGESTS,
        "pooling": "mean",
        "normalisation": "l2",
        "max_length": MAX_LENGTH,
        "numeric": NUMERIC_CLASS,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


class MiniLM(BaseEmbedding):
    """Unit vectors of 384 numbers. Safe for several threads and event loops at once.

    Open it with `open_embedding`. A text longer than 256 word pieces counts with its beginning only, as the model was
    made; splitting keeps chunks within that.
    """

    _encoder: Encoder = PrivateAttr()
    _tokenizer: Tokenizer = PrivateAttr()
    _cutting: Tokenizer = PrivateAttr()
    _max_texts: int = PrivateAttr()
    _max_pieces: int = PrivateAttr()
    _questions: Microbatcher = PrivateAttr()
    _model_calls: int = PrivateAttr(default=0)
    _counting: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, encoder: Encoder, weights: Weights, *, model: str, max_texts: int, max_pieces: int) -> None:
        super().__init__(model_name=model, embed_batch_size=2048)  # LlamaIndex hands over long lists; we sort and slice
        self._encoder = encoder
        self._tokenizer = load_tokenizer(weights)
        self._cutting = load_cutting_tokenizer(weights)
        self._max_texts = max_texts
        self._max_pieces = max_pieces
        self._questions = Microbatcher(self.embed, max_texts)

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex records."""
        return "MiniLM"

    @property
    def backend(self) -> str:
        """The runtime: onnx, openvino or sentence_transformers."""
        return self._encoder.name

    @property
    def fingerprint(self) -> str:
        """See the function of this name."""
        return fingerprint()

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokeniser, without padding and without a cut."""
        return self._tokenizer

    @property
    def model_calls(self) -> int:
        """Forward passes since this object was made; fewer than questions when questions were merged."""
        return self._model_calls

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors float32[len(texts), 384] in the order of `texts`; identical texts are computed once.

        Raises:
            TypeError: something in `texts` is not a string.
            ModelError: the runtime failed, or gave numbers that are not finite.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("embed() takes a sequence of strings")
        if not texts:
            return np.empty((0, DIMENSIONS), dtype=np.float32)
        pieces = tokenise(self._cutting, texts)
        vectors = np.full((len(pieces.unique), DIMENSIONS), np.nan, dtype=np.float32)
        try:
            calls = self._encoder.encode(plan_batches(pieces.unique, self._max_texts, self._max_pieces), vectors)
        except Exception as error:  # three runtimes, each with errors of its own
            raise ModelError(f"the embedding model failed on {len(texts)} texts ({self.backend}): {error}") from error
        with self._counting:
            self._model_calls += calls
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"the embedding model gave numbers that are not finite ({self.backend}); restart, then report it"
            )
        return vectors[pieces.numbers]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.embed(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        if not isinstance(query, str):
            raise TypeError("a question is a string")  # here, before it could spoil the batch of its neighbours
        vector: list[float] = (await self._questions.embed(query)).tolist()
        return vector

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def open_embedding(settings: EmbeddingSettings, cache_dir: Path, purpose: Purpose) -> MiniLM:
    """The embedding for questions or for bulk work, with its files found, checked and, if needed, exported first.

    `cache_dir` receives the exported graph and the verdict of the equality gate. Raises `ConfigurationError`,
    `WeightsRejected` or `ModelError`, each saying what to do.
    """
    weights = find_weights(settings.weights_dir)
    wanted = settings.query_backend if purpose == "query" else settings.bulk_backend
    encoder = _open_encoder(wanted, weights, settings, cache_dir)
    logger.info("embedding for %s: %s, weights from %s", purpose, encoder.name, weights.source)
    return _minilm(encoder, weights, settings)


def _minilm(encoder: Encoder, weights: Weights, settings: EmbeddingSettings) -> MiniLM:
    return MiniLM(
        encoder, weights, model=settings.model, max_texts=settings.batch_size, max_pieces=settings.batch_pieces
    )


def _open_encoder(wanted: str, weights: Weights, settings: EmbeddingSettings, cache_dir: Path) -> Encoder:
    if wanted == "sentence_transformers":
        return _open_reference(weights, settings)
    if not _installed("onnxruntime"):
        logger.warning("onnxruntime is not installed; embedding with sentence-transformers, which takes longer")
        return _open_reference(weights, settings)
    graph = _graph(weights, settings, cache_dir)
    if wanted in ("auto", "openvino"):
        if fast := _open_openvino(graph, weights, settings, cache_dir):
            return fast
        if wanted == "openvino":
            raise ConfigurationError(
                "embedding.bulk_backend is openvino, but OpenVINO is not installed or fails its equality gate: "
                "run `pip install openvino`, or set it to auto"
            )
    return OnnxEncoder(graph, settings.threads)


def _graph(weights: Weights, settings: EmbeddingSettings, cache_dir: Path) -> Path:
    if settings.graph_dir:
        return prepared_graph(Path(settings.graph_dir).expanduser(), weights.digest)
    return ensure_graph(weights, cache_dir)


def _open_openvino(graph: Path, weights: Weights, settings: EmbeddingSettings, cache_dir: Path) -> Encoder | None:
    if not _installed("openvino"):
        return None
    from rag.models.openvino_encoder import open_gated  # noqa: PLC0415 - optional

    def compare(candidate: Encoder, reference: Encoder) -> float:
        return smallest_cosine(_minilm(candidate, weights, settings).embed, _minilm(reference, weights, settings).embed)

    return open_gated(graph, settings.threads, cache_dir, lambda: OnnxEncoder(graph, settings.threads), compare)


def _open_reference(weights: Weights, settings: EmbeddingSettings) -> Encoder:
    if not _installed("sentence_transformers"):
        raise ConfigurationError(
            "neither onnxruntime nor sentence-transformers is installed: run `pip install onnxruntime`"
        )
    from rag.models.sentence_transformers_encoder import SentenceTransformersEncoder  # noqa: PLC0415 - loads torch

    return SentenceTransformersEncoder(weights, settings.threads)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
