"""What the doctor says of Mistral-7B and of the card: an error only where an engine on this machine needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rag.models.manifest import MISTRAL, manifest_of
from rag.models.places import cache_folder
from rag.operations.accelerator import Card, Machine
from rag.operations.findings import Finding
from rag.operations.model_findings import card_finding, model_finding
from rag.settings import Settings, load_settings

V100 = Card("Tesla V100-SXM2-16GB", (7, 0), 17_000_000_000, 16_000_000_000)
WRONG_BUILD = Machine((V100,), "580.95.05", "2.13.0", "13.0", (), "0.50.2")
RIGHT_BUILD = Machine((V100,), "580.95.05", "2.13.0+cu126", "12.6", (), "0.50.2")
NO_CARD = Machine((), None, "2.13.0+cpu", None, (), None)

Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub-cache"))

    def load(**generation: object) -> Settings:
        places = {"CACHE_DIR": str(tmp_path / "cache"), "BANKSIGHT_DATA_DIR": str(tmp_path / "data")}
        return load_settings(environment=places, overrides={"generation": generation})

    return load


@pytest.fixture
def look(settings: Callable[..., Settings]) -> Look:
    def call(machine: Machine, **generation: object) -> dict[str, Finding]:
        loaded = settings(**generation)
        return {finding.subject: finding for finding in (model_finding(loaded), card_finding(loaded, machine))}

    return call


def test_the_extractive_engine_needs_neither_card_nor_model(look: Look) -> None:
    for machine in (NO_CARD, WRONG_BUILD):
        found = look(machine)
        assert (found["gpu"].verdict, found["model"].verdict) == ("ok", "ok")
        assert "needs no card" in found["gpu"].text


@pytest.mark.parametrize("generation", [{"engine": "mistral"}, {"fallback": ["huggingface"]}])
def test_an_engine_with_a_model_here_makes_a_wrong_build_an_error(generation: dict[str, object], look: Look) -> None:
    found = look(WRONG_BUILD, **generation)
    assert (found["gpu"].verdict, found["model"].verdict) == ("wrong", "wrong")
    assert "install the CUDA 12.6 build of torch" in found["gpu"].text
    assert "banksight models pull" in found["model"].text
    assert look(RIGHT_BUILD, **generation)["gpu"].verdict == "ok"


def test_without_a_card_the_model_is_said_to_be_slow(look: Look) -> None:
    found = look(NO_CARD, engine="mistral")["gpu"]
    assert found.verdict == "note"
    assert "on the processor, slowly" in found.text


def test_a_generator_service_may_have_its_card_elsewhere(look: Look) -> None:
    found = look(WRONG_BUILD, engine="mistral", serving="service")
    assert (found["gpu"].verdict, found["model"].verdict) == ("note", "note")


def test_a_model_that_was_pulled_in_part_is_told_by_its_files(look: Look, settings: Callable[..., Settings]) -> None:
    folder = cache_folder(manifest_of(MISTRAL), settings())
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(b"x" * 601)
    found = look(RIGHT_BUILD, engine="mistral")["model"]
    assert found.verdict == "wrong"
    assert "lacks 9 of 10 files" in found.text
