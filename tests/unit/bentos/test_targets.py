"""An image says what it is built for, and does not start where that cannot run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bentos.commands import require_right_card
from bentos.targets import refuse_wrong_build, refuse_wrong_card, target_of, targets
from rag.errors import ConfigurationError, ModelError
from rag.operations.accelerator import Card, Machine
from rag.settings import Settings, load_settings

GIB = 2**30
V100 = Card("Tesla V100-SXM2-16GB", (7, 0), 16 * GIB, 15 * GIB)
T4 = Card("Tesla T4", (7, 5), 15 * GIB, 14 * GIB)
NONE = Machine((), None, "2.13.0+cpu", None, (), "0.50.2")
GN6V = Machine((V100,), "550.54", "2.13.0+cu126", "12.6", (), "0.50.2")
CUDA = Machine((T4,), "580.65", "2.13.0+cu130", "13.0", (), "0.50.2")


def test_every_target_names_the_torch_that_everything_is_tested_with() -> None:
    tested = next(
        line for line in Path("constraints.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch==")
    )
    for path in Path("bentos/targets").glob("*.txt"):
        assert f"\n{tested}+" in path.read_text(encoding="utf-8"), path.name


def test_targets_and_their_cuda() -> None:
    assert targets() == {"cpu": None, "cuda": "13.0", "gn6v": "12.6"}


def test_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="cpu, cuda, gn6v"):
        target_of({"BANKSIGHT_TARGET": "gpu"})
    assert target_of({}) is None


@pytest.mark.parametrize(("target", "cuda"), [("cpu", "13.0"), ("gn6v", "13.0"), ("gn6v", None), ("cuda", "12.6")])
def test_image_with_another_torch_than_its_target_is_refused(target: str, cuda: str | None) -> None:
    with pytest.raises(ConfigurationError, match=f"bentos/targets/{target}.txt"):
        refuse_wrong_build(target, cuda)


@pytest.mark.parametrize(("target", "machine"), [("cpu", NONE), ("cpu", GN6V), ("gn6v", GN6V), ("cuda", CUDA)])
def test_right_card_starts(target: str, machine: Machine) -> None:
    refuse_wrong_card(target, machine)


@pytest.mark.parametrize(
    ("target", "machine", "advice"),
    [
        ("gn6v", NONE, "--gpus all"),
        ("cuda", replace(CUDA, cards=(V100,)), "take the image of target gn6v"),
        ("cuda", replace(CUDA, driver="550.54"), "take the image of target gn6v"),
        ("gn6v", replace(GN6V, driver="470.1"), "needs driver 525 or newer"),
    ],
)
def test_wrong_card_stops_with_one_sentence_that_says_what_to_do(target: str, machine: Machine, advice: str) -> None:
    with pytest.raises(ModelError) as stopped:
        refuse_wrong_card(target, machine)
    assert advice in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_serve_asks_for_the_card_only_where_a_model_is_to_run() -> None:
    quoting = load_settings("test", environment={})
    require_right_card(quoting, {"BANKSIGHT_TARGET": "gn6v"})
    require_right_card(_with_mistral(), {})
    with pytest.raises((ConfigurationError, ModelError), match="gn6v"):
        require_right_card(_with_mistral(), {"BANKSIGHT_TARGET": "gn6v"})


def _with_mistral() -> Settings:
    return load_settings("test", environment={}, overrides={"generation": {"engine": "mistral"}})
