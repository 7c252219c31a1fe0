"""Opens all-MiniLM-L6-v2 on the fastest runtime of this machine that gives the same vectors."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rag.errors import BankSightError, ConfigurationError, ModelError
from rag.models.batching import load_cutting_tokenizer, plan_batches, tokenise
from rag.models.encoders import DIMENSIONS, Encoder, LateEncoder, OnnxEncoder
from rag.models.equality import smallest_cosine
from rag.models.gathering import Gathering
from rag.models.identity import fingerprint
from rag.models.minilm import MiniLM, require_strings
from rag.models.onnx_file import ensure_graph
from rag.models.weights import Weights, find_weights
from rag.settings import EmbeddingSettings

__all__ = ["LocalMiniLM", "MiniLM", "fingerprint", "open_embedding"]
logger = logging.getLogger(__name__)

Purpose = Literal["query", "bulk"]
_TOGETHER: Final = 4  # questions in one pass; more gain little, and the first of them would wait for longer
_OPENVINO_ADVICE: Final = "run `pip install openvino`, or set it to auto"


class LocalMiniLM(MiniLM):
    """The model in this process. Open it with `open_embedding`."""

    _encoder: Encoder = PrivateAttr()
    _cutting: Tokenizer = PrivateAttr()
    _max_texts: int = PrivateAttr()
    _max_pieces: int = PrivateAttr()
    _model_calls: int = PrivateAttr(default=0)
    _single: Gathering = PrivateAttr()
    _counting: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, encoder: Encoder, weights: Weights, settings: EmbeddingSettings) -> None:
        super().__init__(weights, model=settings.model, max_texts=settings.batch_size)
        self._encoder = encoder
        self._cutting = load_cutting_tokenizer(weights)
        self._max_texts = settings.batch_size
        self._max_pieces = settings.batch_pieces
        # One thread less than there are: searches need one too, and the fewer passes, the more questions share one.
        self._single = Gathering(self._forward, max(1, settings.threads - 1), _TOGETHER)

    @property
    def backend(self) -> str:
        """See `MiniLM`."""
        return self._encoder.name

    @property
    def model_calls(self) -> int:
        """See `MiniLM`."""
        return self._model_calls

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `MiniLM`. Identical texts are computed once, and texts of similar length together."""
        require_strings(texts)
        if not texts:
            return np.empty((0, DIMENSIONS), dtype=np.float32)
        pieces = tokenise(self._cutting, texts)
        if len(pieces.unique) == 1:
            return self._single.encode(pieces.unique[0])[np.newaxis][pieces.numbers]
        return self._forward(pieces.unique)[pieces.numbers]

    def _forward(self, unique: Sequence[list[int]]) -> NDArray[np.float32]:
        vectors = np.full((len(unique), DIMENSIONS), np.nan, dtype=np.float32)
        try:
            calls = self._encoder.encode(plan_batches(unique, self._max_texts, self._max_pieces), vectors)
        except BankSightError:
            raise
        except Exception as error:  # three runtimes, each with errors of its own
            raise ModelError(f"the embedding model failed on {len(unique)} texts: {error}") from error
        with self._counting:
            self._model_calls += calls
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"the embedding model ({self.backend}) gave numbers that are not finite: restart, report it"
            )
        return vectors


def open_embedding(settings: EmbeddingSettings, cache_dir: Path, purpose: Purpose) -> MiniLM:
    """The embedding for questions or for bulk work, with its files found, checked and, if needed, exported first.

    `cache_dir` receives the exported graph, unless the settings name another folder, and the verdict of the equality
    gate. For bulk work the network is loaded when the first text comes: most runs of ingestion find nothing new.

    Raises:
        ConfigurationError, WeightsRejected, ModelError: each says what to do.
    """
    weights = find_weights(settings.weights_dir)
    logger.debug("embedding model found in the %s", weights.source)
    if purpose == "query":
        return LocalMiniLM(_open_encoder(settings.query_backend, weights, settings, cache_dir), weights, settings)
    wanted = settings.bulk_backend
    if wanted == "openvino" and not _installed("openvino"):
        raise ConfigurationError(f"embedding.bulk_backend is openvino, which is not installed: {_OPENVINO_ADVICE}")
    late = LateEncoder(lambda: _open_encoder(wanted, weights, settings, cache_dir))
    return LocalMiniLM(late, weights, settings)


def _open_encoder(wanted: str, weights: Weights, settings: EmbeddingSettings, cache_dir: Path) -> Encoder:
    if wanted == "sentence_transformers":
        return _open_reference(weights, settings)
    if not _installed("onnxruntime"):
        logger.warning("onnxruntime is not installed; embedding with sentence-transformers, which takes longer")
        return _open_reference(weights, settings)
    graph = ensure_graph(weights, Path(settings.graph_dir) if settings.graph_dir else cache_dir)
    if wanted in ("auto", "openvino"):
        if fast := _open_openvino(graph, weights, settings, cache_dir):
            return fast
        if wanted == "openvino":
            raise ModelError(
                "OpenVINO fails, or fails its equality gate, on this machine: set embedding.bulk_backend to auto"
            )
    return OnnxEncoder(graph, settings.threads)


def _open_openvino(graph: Path, weights: Weights, settings: EmbeddingSettings, cache_dir: Path) -> Encoder | None:
    """The encoder, or None where OpenVINO is absent, broken or not equal: there is a slower way to the same vectors."""
    if not _installed("openvino"):
        return None
    from rag.models.openvino_encoder import open_gated  # noqa: PLC0415 - optional

    def compare(candidate: Encoder) -> float:
        reference = OnnxEncoder(graph, settings.threads)
        first, second = (LocalMiniLM(each, weights, settings) for each in (candidate, reference))
        return smallest_cosine(first.embed, second.embed)

    try:
        return open_gated(graph, settings.threads, (graph.parent, cache_dir), compare)
    except Exception:
        logger.exception("OpenVINO does not work here; embedding with ONNX Runtime, which takes longer")
        return None


def _open_reference(weights: Weights, settings: EmbeddingSettings) -> Encoder:
    if not _installed("sentence_transformers"):
        raise ConfigurationError(
            "neither onnxruntime nor sentence-transformers is installed: run `pip install onnxruntime`"
        )
    from rag.models.sentence_transformers_encoder import SentenceTransformersEncoder  # noqa: PLC0415 - loads torch

    return SentenceTransformersEncoder(weights, settings.threads)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
