"""The runbook as it stands in docs/disaster-recovery.md, typed into a shell; and backups in the middle of writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rag.bootstrap import Workspace, open_workspace
from rag.operations import backup as backups
from rag.operations.backup_repository import BackupRepository
from rag.operations.backup_snapshot import take_snapshot
from rag.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "disaster-recovery.md"
CORPUS = {
    "fees.csv": "product,monthly fee,overdraft fee\nBasic account,$4.50,$12.00\nStudent account,$0.00,$6.00\n",
    "opening-hours.txt": "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.\n",
}


@pytest.fixture(scope="session", autouse=True)
def restic() -> None:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed; install the package restic")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Configuration, password and sources of a small bank."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "sources").mkdir()
    for name, text in CORPUS.items():
        (tmp_path / "sources" / name).write_text(text)
    base = (ROOT / "configs" / "base.yaml").read_text()
    (tmp_path / "configs" / "base.yaml").write_text(base)
    source = f"{{name: papers, collection: rules, root: {tmp_path / 'sources'}}}"
    (tmp_path / "configs" / "laptop.yaml").write_text(
        f"sources: [{source}]\nembedding: {{bulk_backend: onnx, graph_dir: {ROOT / 'var' / 'models'}}}\n"
    )
    (tmp_path / "password").write_text("correct horse battery staple")
    return tmp_path


@pytest.mark.proves("GDPR 32", "SOC 2 A1.3", "ISO A.8.13")
def test_every_command_of_the_runbook_works(home: Path) -> None:
    blocks = sections()
    assert len(blocks) == 5
    data = {name: home / name for name in ("first", "second", "standby", "anew")}
    play(home, data["first"], ["banksight ingest", "banksight backup create --no-verify"])
    lost = play(home, data["second"], blocks["The machine is lost"])
    assert "was restored in" in lost
    assert "originals agree" in play(home, data["second"], blocks["Chroma is corrupt"])
    shutil.copytree(home / "backups", home / "copied")
    shutil.rmtree(home / "backups")
    assert "1 backups" in play(home, data["standby"], blocks["The region is lost"])
    play(home, data["anew"], blocks["Everything is lost, backups too"])
    last = play(home, data["anew"], blocks["After each of these"])
    assert "and proved" in last
    assert "recovery took" in last
    certificate = json.loads(next((data["anew"] / "backup" / "certificates").glob("*.json")).read_text())
    assert certificate["golden_questions"] == {"asked": 2, "found": 2}
    assert certificate["corpus"]["documents"] == 2


def sections() -> dict[str, list[str]]:
    """The runbook's shell blocks by heading."""
    text = RUNBOOK.read_text(encoding="utf-8").split("\n## Runbook\n")[1]
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: re.findall(r"```sh\n(.*?)```", part, re.DOTALL) for part in parts}


def play(home: Path, data: Path, blocks: list[str]) -> str:
    """Type the blocks into one shell; what they print."""
    environment = os.environ | {
        "BANKSIGHT_CONFIG_DIR": str(home / "configs"),
        "BANKSIGHT_DATA_DIR": str(data),
        "BACKUP_REPOSITORY": str(home / "backups"),
        "BACKUP_PASSWORD_FILE": str(home / "password"),
        "STANDBY_REPOSITORY": str(home / "copied"),
        "PYTHON": sys.executable,
    }
    script = 'banksight() { "$PYTHON" -m rag.cli "$@"; }\n' + "\n".join(blocks)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment, cwd=home, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    workspace = open_workspace(settings)
    try:
        yield workspace
    finally:
        workspace.close()


def quiet(_: object) -> None:
    """Progress that nobody watches."""


def test_backups_taken_while_documents_are_written_are_all_whole(home: Path) -> None:
    """Documents change and go in one thread; every backup is of one moment, and a different one."""
    settings = load_settings(
        "laptop",
        environment={"BANKSIGHT_CONFIG_DIR": str(home / "configs"), "BANKSIGHT_DATA_DIR": str(home / "data")},
        overrides={"backup": {"repository": str(home / "backups"), "password_file": str(home / "password")}},
    )
    stop = threading.Event()
    with opened(settings) as workspace:

        def write() -> None:
            turn = 0
            while not stop.wait(0.3):  # a lock is not fair: whoever takes it again at once starves others
                turn += 1
                changing = home / "sources" / f"note-{turn % 3}.txt"
                changing.write_text(f"Note {turn}: the vault number {turn} opens at nine.\n")
                if turn % 4 == 0:
                    changing.unlink()
                workspace.ingest()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            saved = [backups.create(settings, lambda: take_snapshot(workspace), quiet, quiet) for _ in range(3)]
        finally:
            stop.set()
            writer.join()
    proofs = [backups.verify(settings, each, opened, quiet) for each in saved]
    assert len({proof.facts.snapshot for proof in proofs}) == len(proofs)
    assert BackupRepository(settings.backup, settings.root).forget(30) == 0
