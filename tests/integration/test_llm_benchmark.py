"""The benchmark of engines measures a model of the size that it names, and prints tables that are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluations import llm_benchmark
from evaluations.llm_benchmark import Load, Measured
from rag.models.engines.loading import load_model
from rag.testing_models import Shape, make_tiny_mistral


@pytest.mark.parametrize("card", [False, True])
def test_a_row_has_as_many_cells_as_its_header(card: bool) -> None:  # noqa: FBT001
    _, header, line = llm_benchmark._header(card).split("\n")
    measured = Measured(1.0, 2.0, 24, (0.1, 0.2), (0.9, 1.0))
    row = llm_benchmark._row(Load(60, 12, 2), "slots", measured, "-" if card else None)
    assert row.count("|") == header.count("|") == line.count("|")


def test_every_layer_of_the_measured_model_takes_memory_of_its_own(tmp_path: Path) -> None:
    shape = Shape(layers=4)
    measured, _ = llm_benchmark._load(tmp_path / "clones", shape, "nf4", "cpu")
    made = load_model(make_tiny_mistral(tmp_path / "made", shape=shape), "nf4", "cpu")
    assert measured.memory_bytes == made.memory_bytes
    assert len(measured.model.model.layers) == measured.model.config.num_hidden_layers == 4
