"""sentence-transformers itself: the reference for the other runtimes, and the fallback without onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from rag.models.batching import Batch
from rag.models.weights import Weights


class SentenceTransformersEncoder:
    """torch on the CPU, fp32. Takes our word pieces, so that every runtime reads a text in the same way."""

    name = "sentence_transformers"

    def __init__(self, weights: Weights, threads: int) -> None:
        torch.set_num_threads(threads)
        options = {"use_safetensors": True, "dtype": torch.float32}
        self._model = SentenceTransformer(
            str(weights.folder), device="cpu", local_files_only=True, model_kwargs=options
        ).eval()
        self._one_caller = threading.Lock()

    def encode(self, batches: Iterable[Batch], out: NDArray[np.float32]) -> int:
        """See `Encoder`. Callers take turns: torch already uses every thread for one of them."""
        calls = 0
        with self._one_caller, torch.inference_mode():
            for batch in batches:
                features = {"input_ids": torch.from_numpy(batch.ids), "attention_mask": torch.from_numpy(batch.mask)}
                out[batch.rows] = self._model(features)["sentence_embedding"].numpy()
                calls += 1
        return calls
