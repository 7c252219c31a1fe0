"""The exported encoder on disk: what it is called, whether it is intact, and how it gets there. Loads no torch.

Beside `minilm-<weights>-v<n>.onnx` stands its own SHA-256. A file without the right one is a broken or half-finished
export and is made again.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rag.errors import ModelError
from rag.models.weights import Weights, sha256_of

logger = logging.getLogger(__name__)

EXPORT_VERSION: Final = 1  # raise it when `onnx_export` makes another graph
MAX_LENGTH: Final = 256  # word pieces of a text, [CLS] and [SEP] included; sentence_bert_config.json of the model
OUTPUT_NAME: Final = "sentence_embedding"  # `embedding` would collide with a name inside the graph
LOCK_NAME: Final = ".export.lock"
_EXPORT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class GraphFile:
    """Where the graph should be, and whether it is there as it was written."""

    path: Path
    state: Literal["good", "missing", "broken"]


def graph_name(weights_digest: str) -> str:
    """The file's name: other weights or another exporter never meet the same file."""
    return f"minilm-{weights_digest[:16]}-v{EXPORT_VERSION}.onnx"


def read_graph(folder: Path, weights_digest: str) -> GraphFile:
    """The state of the graph in `folder`; reads the whole file (90 MB, about 60 ms) to compare its digest."""
    path = folder / graph_name(weights_digest)
    record = _record(path)
    if not path.is_file() or not record.is_file():
        return GraphFile(path, "missing")
    intact = record.read_text(encoding="ascii", errors="replace").strip() == sha256_of(path)
    return GraphFile(path, "good" if intact else "broken")


def ensure_graph(weights: Weights, folder: Path) -> Path:
    """The intact graph in `folder`, exported by a child process where it is missing, stale or broken (about 15 s).

    A folder that a build has filled, with `python -m rag.models.onnx_export --to FOLDER`, is only read.

    Raises:
        ModelError: it cannot be made; the sentence says why and what to do.
    """
    graph = read_graph(folder, weights.digest)
    if graph.state == "good":
        return graph.path
    _require_writable(folder)
    logger.warning("the exported encoder %s is %s; exporting it, which takes a moment", graph.path.name, graph.state)
    _export_in_child(weights, folder)
    graph = read_graph(folder, weights.digest)
    if graph.state != "good":
        raise ModelError(f"{graph.path} is {graph.state} right after its export: check the disk under {folder}")
    return graph.path


def publish(made: Path, folder: Path) -> Path:
    """Moves a finished graph to its place. The digest comes last: killed in between, the graph is made again."""
    target = folder / made.name
    record = _record(made)
    record.write_text(sha256_of(made), encoding="ascii")
    _record(target).unlink(missing_ok=True)
    for source, goal in ((made, target), (record, _record(target))):
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(goal)
    for left in folder.glob(".export-*"):  # scratch of exports that were killed; the caller holds the lock
        if left != made.parent:
            shutil.rmtree(left, ignore_errors=True)
    return target


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ModelError(
            f"the encoder must be exported, but {folder} cannot be written ({error.strerror}): make it writable, or "
            "fill a folder with `python -m rag.models.onnx_export --to FOLDER` and name it in BANKSIGHT_ENCODER_DIR"
        ) from error


def _export_in_child(weights: Weights, folder: Path) -> None:
    """A child process pays for torch (about 700 MB) and gives the memory back."""
    import_root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "rag.models.onnx_export", "--to", str(folder), "--weights", str(weights.folder)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (import_root, os.environ.get("PYTHONPATH"))))
    }
    advice = "install the `serve` extra again, or set embedding.query_backend: sentence_transformers"
    try:
        child = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_EXPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"exporting the encoder took more than {_EXPORT_SECONDS} s: {advice}") from error
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise ModelError(f"the encoder could not be exported ({last}): {advice}")
