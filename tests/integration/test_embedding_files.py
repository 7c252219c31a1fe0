"""The exported graph and the equality gate: made once, checked at each start, made again when broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.models import openvino_encoder
from rag.models.encoders import OnnxEncoder
from rag.models.equality import gate_texts
from rag.models.onnx_file import ensure_graph, graph_name, read_graph
from rag.models.openvino_encoder import OpenvinoEncoder, open_gated
from rag.models.weights import Weights, find_weights
from rag.settings import load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return find_weights()


@pytest.fixture(scope="module")
def graph(weights: Weights) -> Path:
    return ensure_graph(weights, Path(load_settings("test", environment={}).embedding.graph_dir))


@pytest.mark.slow
def test_two_exports_at_once_make_one_good_graph_and_a_broken_one_is_made_again(
    weights: Weights, graph: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    command = [sys.executable, "-m", "rag.models.onnx_export", "--to", str(folder)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said == [str(folder / graph_name(weights.digest))] * 2
    assert read_graph(folder, weights.digest).state == "good"
    assert sorted(path.suffix for path in folder.iterdir() if not path.name.startswith(".")) == [".onnx", ".sha256"]

    with (folder / graph.name).open("r+b") as file:
        file.truncate(1_000_000)
    assert read_graph(folder, weights.digest).state == "broken"
    made = ensure_graph(weights, folder)
    assert read_graph(folder, weights.digest).state == "good"
    assert OnnxEncoder(made, threads=1).name == "onnx"


def test_graph_without_its_digest_counts_as_missing(weights: Weights, graph: Path, tmp_path: Path) -> None:
    (tmp_path / graph.name).symlink_to(graph)
    assert read_graph(tmp_path, weights.digest).state == "missing"


def test_graph_of_other_weights_is_not_taken(graph: Path) -> None:
    assert read_graph(graph.parent, "0" * 64).state == "missing"


def test_folder_that_cannot_be_written_says_what_to_do(weights: Weights, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelError, match=r"cannot be written .*BANKSIGHT_ENCODER_DIR"):
        ensure_graph(weights, tmp_path / "file" / "models")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_graph_file_that_is_no_graph_says_to_delete_it(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="delete it"):
        OnnxEncoder(tmp_path / "graph.onnx", threads=1)


def test_gate_texts_are_64_different_ones_from_nothing_to_beyond_the_limit() -> None:
    texts = gate_texts()
    assert (len(texts), len(set(texts))) == (64, 64)
    assert min(map(len, texts)) == 0


class Measurements:
    """Plays the comparison with fp32: gives these cosines in turn, and counts how often it was asked."""

    def __init__(self, *cosines: float) -> None:
        self.cosines: Iterator[float] = iter(cosines)
        self.asked = 0

    def __call__(self, candidate: object) -> float:
        assert isinstance(candidate, OpenvinoEncoder)
        self.asked += 1
        return next(self.cosines)


def test_verdict_of_the_gate_is_kept_for_the_next_start(graph: Path, tmp_path: Path) -> None:
    first, second = Measurements(0.99995), Measurements()
    assert open_gated(graph, 1, [tmp_path], first) is not None
    assert open_gated(graph, 1, [tmp_path], second) is not None
    assert (first.asked, second.asked) == (1, 0)
    verdict = json.loads(next((tmp_path / "equality-gate").glob("*.json")).read_text())
    assert verdict["min_cosine"] == 0.99995


def test_precision_that_fails_the_gate_gives_way_to_f32(graph: Path, tmp_path: Path, bf16: None) -> None:
    compare = Measurements(0.99, 1.0)
    encoder = open_gated(graph, 1, [tmp_path], compare)
    assert encoder is not None
    assert encoder.precision == "f32"
    assert compare.asked == 2


def test_encoder_that_fails_in_every_precision_is_not_used(graph: Path, tmp_path: Path, bf16: None) -> None:
    assert open_gated(graph, 1, [tmp_path], Measurements(0.99, 0.99)) is None
    assert open_gated(graph, 1, [tmp_path], Measurements()) is None  # remembered


def test_verdict_that_cannot_be_kept_does_not_stop_the_start(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert open_gated(graph, 1, [tmp_path / "file"], Measurements(1.0)) is not None


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the processor computed in bf16, wherever this runs; the hint is only a hint."""
    monkeypatch.setattr(openvino_encoder, "best_precision", lambda: "bf16")


def test_vectors_of_a_failing_batch_do_not_reach_the_caller(graph: Path) -> None:
    encoder = OpenvinoEncoder(graph, 1, "f32")
    out: NDArray[np.float32] = np.full((1, 384), np.nan, dtype=np.float32)

    def batches() -> Iterator[object]:
        raise MemoryError
        yield

    with pytest.raises(MemoryError):
        encoder.encode(batches(), out)  # type: ignore[arg-type]
    assert np.isnan(out).all()
