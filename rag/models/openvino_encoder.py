"""The exported graph on OpenVINO, for bulk work: bf16 arithmetic where the CPU has it, three times as fast as fp32.

bf16 rounds, so it is used only after an equality gate: on fixed texts of mixed lengths every vector must have a cosine
of at least 0.9999 with the fp32 vector of ONNX Runtime. The verdict is kept per processor, library version and graph.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from rag.models.batching import Batch
from rag.models.encoders import Encoder

logger = logging.getLogger(__name__)

Precision = Literal["bf16", "f32"]
MIN_COSINE: Final = 0.9999
_GATE_FOLDER: Final = "equality-gate"


class OpenvinoEncoder:
    """OpenVINO on the CPU: one stream per thread, each with its own batch, which beats several threads on one batch."""

    name = "openvino"

    def __init__(self, graph: Path, threads: int, precision: Precision) -> None:
        self.precision: Final = precision
        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": str(threads),
            "INFERENCE_PRECISION_HINT": precision,
        }
        compiled = core.compile_model(core.read_model(graph), "CPU", options)
        self._queue = openvino.AsyncInferQueue(compiled, threads)
        self._queue.set_callback(_collect)
        self._one_caller = threading.Lock()

    def encode(self, batches: Iterable[Batch], out: NDArray[np.float32]) -> int:
        """See `Encoder`. Callers take turns: the streams of one already use every thread."""
        calls = 0
        with self._one_caller:
            try:
                for batch in batches:
                    self._queue.start_async({"input_ids": batch.ids, "attention_mask": batch.mask}, (batch.rows, out))
                    calls += 1
            finally:
                self._queue.wait_all()
        return calls


def _collect(request: Any, place: tuple[NDArray[np.int64], NDArray[np.float32]]) -> None:
    rows, out = place
    out[rows] = request.get_output_tensor(0).data


def best_precision() -> Precision:
    """bf16 where the processor computes in it (AVX512-BF16 or AMX), else f32."""
    return "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def open_gated(
    graph: Path,
    threads: int,
    folders: Sequence[Path],
    compare: Callable[[Encoder], float],
) -> OpenvinoEncoder | None:
    """The encoder in the best precision that passes the gate; None when none does.

    Verdicts are read from any of `folders` and kept in the first that can be written.
    `compare` gives the smallest cosine with fp32 on the gate's texts. It is called only when this processor, library
    and graph have not been measured before.
    """
    for precision in dict.fromkeys((best_precision(), "f32")):
        encoder = OpenvinoEncoder(graph, threads, precision)
        verdicts = [folder / _GATE_FOLDER / f"{_key(graph, precision)}.json" for folder in folders]
        cosine = next((known for known in map(_known, verdicts) if known is not None), None)
        if cosine is None:
            cosine = compare(encoder)
            logger.info("equality gate: openvino %s against fp32, smallest cosine %.6f", precision, cosine)
            _keep(verdicts, precision, cosine)
        if cosine >= MIN_COSINE:
            return encoder
        logger.warning("openvino %s fails the equality gate: cosine %.6f, needed %.4f", precision, cosine, MIN_COSINE)
    return None


def _key(graph: Path, precision: Precision) -> str:
    """Digest of everything that may change the arithmetic."""
    core = openvino.Core()
    # The graph's own digest stands beside it, and was compared with the file when it was opened.
    content = graph.with_name(graph.name + ".sha256").read_text(encoding="ascii")
    known = [
        core.get_property("CPU", "FULL_DEVICE_NAME"),
        sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        _processor_flags(),
        openvino.get_version(),
        content,
        precision,
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _processor_flags() -> list[str]:
    """Family, model and features on Linux; empty elsewhere. Two clouds' processors can share one marketing name."""
    wanted = ("cpu family", "model", "flags", "Features")
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return []
    return [line for line in first.splitlines() if line.startswith(wanted)]


def _known(verdict: Path) -> float | None:
    try:
        return float(json.loads(verdict.read_text(encoding="utf-8"))["min_cosine"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(verdicts: Sequence[Path], precision: Precision, cosine: float) -> None:
    content = {"precision": precision, "min_cosine": cosine, "openvino": openvino.get_version()}
    for verdict in verdicts:
        try:
            verdict.parent.mkdir(parents=True, exist_ok=True)
            scratch = verdict.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(json.dumps(content), encoding="utf-8")
            scratch.replace(verdict)
        except OSError as error:
            logger.info("the equality gate's verdict cannot be kept in %s: %s", verdict.parent, error)
        else:
            return
    logger.warning("the equality gate's verdict can be kept nowhere, so it is measured at every start")
