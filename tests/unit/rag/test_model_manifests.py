"""What may be loaded at all, and how a folder is told from the pinned model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rag.errors import ConfigurationError, ModelError, WeightsRejected
from rag.models.checking import check
from rag.models.manifest import Manifest, PinnedFile, manifest_of, pinned_models, read_manifest
from rag.models.places import cache_folder, verified_folder
from rag.models.weights import HUB_NAME, HUB_REVISION, PINNED_DIGESTS, find_weights
from rag.settings import Settings, load_settings

WEIGHTS = b"weights" * 1000
CONFIG = b'{"layers": 2}'


def manifest_for(**contents: bytes) -> Manifest:
    files = [
        PinnedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in contents.items()
    ]
    return Manifest(repository="bank/tiny", revision="0" * 40, license="none", origin="a test", files=tuple(files))


SMALL = manifest_for(**{"model.safetensors": WEIGHTS, "sub/config.json": CONFIG})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "sub").mkdir(parents=True)
    (place / "model.safetensors").write_bytes(WEIGHTS)
    (place / "sub" / "config.json").write_bytes(CONFIG)
    return place


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub-cache"))
    return load_settings(
        environment={"CACHE_DIR": str(tmp_path / "cache"), "BANKSIGHT_DATA_DIR": str(tmp_path / "data")}
    )


def troubles(folder: Path) -> dict[str, str]:
    return {fault.file: fault.trouble for fault in check(folder, SMALL)}


@pytest.mark.proves("LLM03")
def test_every_pinned_model_has_weights_as_safetensors_and_nothing_that_runs() -> None:
    assert [manifest.repository for manifest in pinned_models()] == [
        "mistralai/Mistral-7B-Instruct-v0.3", "sentence-transformers/all-MiniLM-L6-v2",
    ]  # fmt: skip
    for manifest in pinned_models():
        suffixes = {Path(name).suffix for name in manifest.digests}
        assert ".safetensors" in suffixes
        assert suffixes <= {".safetensors", ".json", ".model", ".txt"}


def test_manifest_and_encoder_pin_the_same_minilm() -> None:
    manifest = manifest_of(HUB_NAME)
    assert manifest.revision == HUB_REVISION
    assert PINNED_DIGESTS.items() <= manifest.digests.items()
    assert check(find_weights().folder, manifest) == ()


def test_a_model_is_found_by_its_short_name_and_an_unknown_one_lists_the_known() -> None:
    assert manifest_of("mistral-7b-instruct-v0.3").repository == "mistralai/Mistral-7B-Instruct-v0.3"
    with pytest.raises(ConfigurationError, match=r'"gpt-9" has no pinned files; .*Mistral-7B.*MiniLM'):
        manifest_of("gpt-9")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "modeling_custom.py", "weights.pt", "../config.json", "/etc/x.json"]
)
def test_manifest_that_names_a_pickle_a_script_or_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    content = json.loads(SMALL.model_dump_json())
    content["files"][0]["name"] = name
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        WeightsRejected, match=r"manifest\.json is not valid: files\.0\.name: .*" + name.rsplit("/", maxsplit=1)[-1]
    ):
        read_manifest(path)


def test_the_model_itself_has_no_faults(folder: Path) -> None:
    assert troubles(folder) == {}


def test_each_wrong_file_is_named_with_what_is_wrong(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[:-1])
    (folder / "sub" / "config.json").unlink()
    assert troubles(folder) == {"model.safetensors": "truncated", "sub/config.json": "missing"}
    (folder / "model.safetensors").write_bytes(WEIGHTS + b"x")
    (folder / "sub" / "config.json").write_bytes(CONFIG.replace(b"2", b"3"))
    assert troubles(folder) == {"model.safetensors": "too long", "sub/config.json": "differs"}


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("pytorch_model.bin", "runs code"),
        ("modeling_custom.py", "runs code"),
        ("adapter_model.safetensors", "not pinned"),
        ("chat_template.jinja", "not pinned"),
    ],
)
def test_a_file_that_a_library_might_load_does_not_belong_there(name: str, trouble: str, folder: Path) -> None:
    (folder / name).write_bytes(b"x")
    (folder / "README.md").write_bytes(b"harmless")
    assert troubles(folder) == {name: trouble}


@pytest.mark.proves("LLM03", "LLM04", "AISVS 5.2.3")
def test_verified_folder_gives_the_folder_only_while_every_byte_is_as_pinned(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.models.manifest.pinned_models", lambda: (SMALL,))
    with pytest.raises(ModelError, match=r"bank/tiny is not on this machine: run `banksight models pull bank/tiny`"):
        verified_folder("bank/tiny", settings)
    place = cache_folder(SMALL, settings)
    place.parent.mkdir(parents=True)
    folder.rename(place)
    assert verified_folder("tiny", settings) == place
    (place / "sub" / "config.json").write_bytes(CONFIG.replace(b"2", b"3"))
    with pytest.raises(WeightsRejected, match=r"sub/config\.json: differs .* models pull bank/tiny"):
        verified_folder("tiny", settings)


def test_verified_folder_of_minilm_is_the_package(settings: Settings) -> None:
    assert verified_folder("all-MiniLM-L6-v2", settings) == find_weights().folder
