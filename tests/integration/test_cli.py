"""`banksight` as people type it: what it prints, its exit codes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag.settings import load_settings

Run = Callable[..., "subprocess.CompletedProcess[str]"]
QUESTION = "How many business days does an institution have to determine whether an error occurred?"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def home(tmp_path: Path, corpus_folder: Path) -> Path:
    """A folder with a configuration whose one source is the small corpus."""
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "base.yaml").write_text((CONFIGS / "base.yaml").read_text())
    source = f"{{name: papers, collection: rules, root: {corpus_folder}}}"
    (configs / "laptop.yaml").write_text(f"sources: [{source}]\nembedding: {{bulk_backend: onnx}}\n")
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "BANKSIGHT_CONFIG_DIR": str(home / "configs"), "BANKSIGHT_DATA_DIR": str(home / "data"), "COLUMNS": "120",
            "BANKSIGHT_ENCODER_DIR": load_settings("test", environment={}).embedding.graph_dir,
        } | more  # fmt: skip
        command = [sys.executable, "-m", "rag.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)

    return call


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_from_ingest_to_delete(run: Run, corpus_folder: Path) -> None:
    (corpus_folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    first = run("ingest")
    assert first.returncode == 1, "a document failed"
    assert "3 added, 1 failed" in first.stdout
    assert "broken.pdf" in first.stderr
    assert "Traceback" not in first.stderr

    (corpus_folder / "broken.pdf").unlink()
    second = run("ingest", "--json")
    report = json.loads(second.stdout)
    assert second.returncode == 0
    assert report["counts"] == {
        "added": 0,
        "updated": 0,
        "unchanged": 3,
        "deleted": 1,
        "excluded": 0,
        "quarantined": 0,
        "failed": 0,
    }

    answer = run("ask", QUESTION)
    assert answer.returncode == 0
    assert "within 10 business days" in answer.stdout
    assert "[1]" in answer.stdout
    assert "page" in answer.stdout

    structured = json.loads(run("ask", "--json", QUESTION).stdout)
    assert structured["status"] == "answered"
    assert structured["citations"][0]["quote"] in structured["text"]

    listed = json.loads(run("documents", "list", "--json").stdout)
    assert {each["state"] for each in listed} == {"indexed"}
    fees = next(each for each in listed if each["uri"] == "file:fees.csv")
    assert "fees" in run("documents", "show", fees["id"]).stdout
    assert run("documents", "delete", fees["id"], "--yes").returncode == 0
    assert run("index", "check").stdout.strip().endswith("agree")
    unknown = run("documents", "show", "0" * 16)
    assert unknown.returncode == 3
    assert unknown.stderr.startswith("Error: there is no document")


def test_an_unchanged_corpus_is_seen_without_loading_encoder_or_stores(run: Run, home: Path) -> None:
    run("ingest")
    script = (
        "import sys; from rag.cli import banksight; banksight(['ingest'], standalone_mode=False); "
        "print(sorted({'chromadb', 'llama_index', 'numpy', 'onnxruntime', 'tokenizers'} & sys.modules.keys()))"
    )
    environment = os.environ | {
        "BANKSIGHT_CONFIG_DIR": str(home / "configs"), "BANKSIGHT_DATA_DIR": str(home / "data")
    }  # fmt: skip
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    said, loaded = child.stdout.splitlines()
    assert said.startswith("3 unchanged; 0 chunks")
    assert loaded == "[]"


def test_an_unanswerable_question_is_refused_without_citations(run: Run) -> None:
    run("ingest")
    answer = json.loads(run("ask", "--json", "Who won the chess world championship in 1972?").stdout)
    assert (answer["status"], answer["citations"]) == ("refused", [])


@pytest.mark.parametrize("question", ["", "   \n", "x" * 100_000])
def test_what_is_no_question_is_one_sentence(run: Run, question: str) -> None:
    result = run("ask", question)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")


def test_a_collection_that_does_not_exist_is_named(run: Run) -> None:
    run("ingest")
    result = run("ask", "--collection", "nothing", "What are the fees?")
    assert result.returncode == 3
    assert "'nothing'" in result.stderr
    assert "rules" in result.stderr


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("nothing").returncode == 2
    assert run("ask").returncode == 2


def test_a_configuration_error_names_the_key(run: Run) -> None:
    result = run("documents", "list", BANKSIGHT__RETRIEVAL__TOPK="3")
    assert result.returncode == 3
    assert "retrieval.topk" in result.stderr


def test_a_profile_that_does_not_exist_lists_those_that_do(run: Run) -> None:
    result = run("doctor", BANKSIGHT_PROFILE="desktop")
    assert result.returncode == 3
    assert "profiles found: laptop" in result.stderr


def test_doctor_says_what_is_wrong_and_version_what_is_there(run: Run, taken_port: int) -> None:
    healthy = run("doctor", "--json")
    assert healthy.returncode == 0, healthy.stdout
    assert {"weights", "registry", "encoder"} <= {each["subject"] for each in json.loads(healthy.stdout)}
    broken = run("doctor", BANKSIGHT__SERVER__PORT=str(taken_port))
    assert broken.returncode == 1
    assert f"{taken_port} taken" in broken.stdout
    assert run("version").stdout.startswith("banksight ")


def test_up_with_a_taken_port_says_which_and_starts_nothing(run: Run, taken_port: int, home: Path) -> None:
    result = run("up", BANKSIGHT__SERVER__PORT=str(taken_port))
    assert result.returncode == 3
    assert f"port {taken_port}" in result.stderr
    assert "BANKSIGHT__SERVER__PORT" in result.stderr
    assert not (home / "data").exists()


def test_weights_of_another_digest_are_refused_with_exit_code_4(run: Run, home: Path) -> None:
    folder = home / "weights"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"not the weights")
    result = run("ask", "What are the fees?", BANKSIGHT_EMBEDDING_DIR=str(folder))
    assert result.returncode == 4
    assert "model.safetensors" in result.stderr
    assert result.stderr.count("\n") == 1
