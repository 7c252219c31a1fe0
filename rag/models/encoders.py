"""What runs the network: the seam, and its ONNX Runtime form. The others are files of their own, loaded when chosen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.models.batching import Batch
from rag.models.onnx_file import OUTPUT_NAME

DIMENSIONS: Final = 384
_SMALL_BATCH: Final = 512  # word pieces, padding included, whose memory is kept for the next batch: about 10 MB


class Encoder(Protocol):
    """The network on one runtime. Safe to use from several threads at once."""

    @property
    def name(self) -> str:
        """The runtime: onnx, openvino or sentence_transformers."""

    def encode(self, batches: Iterable[Batch], out: NDArray[np.float32]) -> int:
        """Writes the unit vectors of each batch into `out[batch.rows]`; gives the number of forward passes."""


class OnnxEncoder:
    """ONNX Runtime on the CPU, fp32: the vectors of sentence-transformers in a quarter of the time for one question.

    Each batch is one thread's work, and up to `threads` batches run at the same time. Several threads on one question
    would save two of its seven milliseconds and cost the machine, when it is busy, a fifth of its throughput.
    """

    name = "onnx"

    def __init__(self, graph: Path, threads: int) -> None:
        import onnxruntime  # noqa: PLC0415 - optional: without it, sentence-transformers takes over

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="onnx")
        # The arena makes a question a fifth cheaper, but would keep the largest batch's memory for ever.
        self._give_back = onnxruntime.RunOptions()
        self._give_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no base class
            raise ModelError(f"{graph} does not load: delete it to have it exported again ({error})") from error

    def encode(self, batches: Iterable[Batch], out: NDArray[np.float32]) -> int:
        """See `Encoder`. A single batch, such as a question, stays in the caller's thread."""

        def run(batch: Batch) -> None:
            inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
            options = self._give_back if batch.ids.size > _SMALL_BATCH else None
            out[batch.rows] = self._session.run([OUTPUT_NAME], inputs, options)[0]

        planned = list(batches)
        if len(planned) == 1:
            run(planned[0])
        else:
            list(self._threads.map(run, planned))  # the list raises what a batch raised
        return len(planned)


class LateEncoder:
    """An encoder that is opened when it is first needed, once, by whichever thread comes first."""

    def __init__(self, open_it: Callable[[], Encoder]) -> None:
        self._open_it = open_it
        self._opened: Encoder | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """See `Encoder`. Opens it, because only then the choice is made."""
        return self._encoder().name

    def encode(self, batches: Iterable[Batch], out: NDArray[np.float32]) -> int:
        """See `Encoder`."""
        return self._encoder().encode(batches, out)

    def _encoder(self) -> Encoder:
        with self._lock:
            if self._opened is None:
                self._opened = self._open_it()
            return self._opened
