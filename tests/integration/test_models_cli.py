"""`banksight models` as people type it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rag.models.manifest import manifest_of
from rag.models.weights import find_weights

Run = Callable[..., "subprocess.CompletedProcess[str]"]
NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        places = {"BANKSIGHT_DATA_DIR": str(tmp_path / "data"), "CACHE_DIR": str(tmp_path / "cache")}
        hub = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_ENDPOINT": "http://127.0.0.1:9"}
        command = [sys.executable, "-m", "rag.cli", "models", *arguments]
        environment = os.environ | places | hub | more
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    return call


def test_pull_from_a_folder_then_list_then_verify_names_each_wrong_file(run: Run, tmp_path: Path) -> None:
    pulled = run("pull", "all-minilm-l6-v2", "--from", str(find_weights().folder))
    assert pulled.returncode == 0, pulled.stderr
    assert f"{NAME}  as pinned" in pulled.stdout

    (row,) = [row for row in json.loads(run("list", "--json").stdout) if row["model"] == NAME]
    assert (row["state"], row["source"], row["bytes"]) == ("complete", "cache", manifest_of(NAME).size)
    folder = Path(row["folder"])
    assert folder.is_relative_to(tmp_path / "cache")
    assert run("verify").returncode == 0

    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"changed!")
    (folder / "own.py").write_text("print('hello')")
    wrong = run("verify", NAME)
    assert wrong.returncode == 1
    assert "model.safetensors: differs" in wrong.stdout
    assert "own.py: runs code" in wrong.stdout

    (folder / "own.py").unlink()
    with (folder / "vocab.txt").open("r+b") as file:
        file.truncate(100)
    assert [each["file"] for each in json.loads(run("verify", NAME, "--json").stdout)[0]["faults"]] == [
        "model.safetensors", "vocab.txt",
    ]  # fmt: skip
    assert run("pull", NAME, "--from", str(find_weights().folder)).returncode == 0
    assert run("verify", NAME).returncode == 0


def test_a_model_that_is_not_here_is_listed_with_the_command_that_brings_it(run: Run) -> None:
    listed = run("list")
    assert listed.returncode == 0
    assert "14.50 GB  absent  run `banksight models pull mistralai/Mistral-7B-Instruct-v0.3`" in listed.stdout
    assert run("verify", "mistral-7b-instruct-v0.3").returncode == 1


def test_wrong_bytes_from_a_source_end_with_exit_code_4_and_leave_nothing(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(find_weights().folder, source)
    (source / "config.json").write_text("{}" + " " * 610)
    refused = run("pull", NAME, "--from", str(source))
    assert refused.returncode == 4
    assert "config.json from" in refused.stderr
    assert "is not the pinned file" in refused.stderr
    assert not list((tmp_path / "cache").rglob("config.json.part"))


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (("pull", "gpt-9"), {}, 3, "has no pinned files"),
        (("pull", NAME, "--from", "s3://bucket/x"), {}, 3, "https:// URL"),
        (("pull", NAME), {"HF_HUB_OFFLINE": "1"}, 3, "HF_HUB_OFFLINE is set"),
        (("pull",), {}, 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, said: str, run: Run
) -> None:
    done = run(*arguments, **environment)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
