"""`bentoml build` packs exactly what is meant to be packed, and the bento serves without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bentos.requirements import pinned
from rag.settings import Settings

ROOT = Path(__file__).parents[2]
PACKED_PACKAGES = ("bentos", "connectors", "rag")
DATA_FILES = {
    "rag/query/answerability.json",
    "rag/query/scope.json",
    "rag/query/support.json",
    "rag/query/escalation.yaml",
    "rag/storage/migrations/script.py.mako",
    "bentofile.yaml",
}


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bento that was just built from a copy of this checkout, with secrets and rubbish lying about."""
    home, checkout = tmp_path_factory.mktemp("bentoml"), tmp_path_factory.mktemp("copy") / "checkout"
    rubbish = shutil.ignore_patterns(".git", ".venv", "var", "sample_bank", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, checkout, ignore=rubbish)
    for trap in (".env", "configs/.env", "configs/key.pem", "bentos/notes.txt", "rag/dump.sqlite3", "var/upload.py"):
        (checkout / trap).parent.mkdir(exist_ok=True)
        (checkout / trap).write_text("secret", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "BANKSIGHT"))}
    built = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        env=environment | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "BANKSIGHT_PROFILE": "test"},
        cwd=checkout, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (made,) = (home / "bentos" / "banksight").glob("*/bento.yaml")
    return made.parent


def test_bento_holds_the_allow_list_and_nothing_else(bento: Path) -> None:
    packed = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*") if path.is_file()}
    meant = {
        str(path.relative_to(ROOT))
        for package in PACKED_PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }  # fmt: skip
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "rag/query/templates").glob("*.txt")}
    manifests = {str(path.relative_to(ROOT)) for path in (ROOT / "rag/models/manifests").glob("*.json")}
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("*.yaml")}
    targets = {str(path.relative_to(ROOT)) for path in (ROOT / "bentos/targets").glob("*.txt")}
    assert packed == meant | templates | manifests | configs | targets | DATA_FILES
    assert templates
    assert manifests


def test_every_data_file_of_the_packages_is_packed(bento: Path) -> None:
    """A package that reads a new data file must not work here and fail in the bento."""
    known = (".py", ".pyc", ".txt", ".md")
    data = {
        path.relative_to(ROOT)
        for package in PACKED_PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix not in known or {"templates", "targets"} & set(path.parts))
    }
    assert {str(path) for path in data if not (bento / "src" / path).is_file()} == set()


def test_installed_packages_are_those_of_the_constraints() -> None:
    written = (ROOT / "bentos" / "requirements.txt").read_text(encoding="utf-8")
    assert written == pinned(ROOT / "constraints.txt"), "run python -m bentos.requirements > bentos/requirements.txt"


def test_bento_names_no_developer_tools(bento: Path) -> None:
    needed = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    assert "bentoml==" in needed
    assert not [name for name in ("pytest", "chainlit", "mypy", "playwright") if f"\n{name}==" in needed]


def test_bento_description_has_no_machine_paths(bento: Path) -> None:
    assert "/checkout" not in (bento / "bento.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))["entry_service"] == "Assistant"


def test_bento_serves_from_another_folder_without_the_checkout(
    bento: Path, tmp_path: Path, start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]
) -> None:
    application = bento / "src" / "bentos" / "application.py"
    changed = application.read_text(encoding="utf-8").replace('title="BankSight"', 'title="BankSight from the bento"')
    application.write_text(changed, encoding="utf-8")
    command = ("-m", "bentoml", "serve", str(bento), "--port", "{port}")
    server = start_server(make_service_settings(), *command, cwd=tmp_path, PYTHONPATH="", PYTHONSAFEPATH="1")
    server.wait_until_ready()
    server.ingest()
    question = {"question": "Within how many business days must a bank determine whether an error occurred?"}
    answer = httpx.post(f"{server.url}/v1/ask", json=question, timeout=60).json()
    assert "10 business days" in answer["text"]
    assert httpx.get(f"{server.url}/docs.json").json()["info"]["title"] == "BankSight from the bento"
    assert server.stop() == 0
