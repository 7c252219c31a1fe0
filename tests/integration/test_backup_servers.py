"""Backups where every store is a server and a worker writes: PostgreSQL, Chroma, and a folder of all machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from os import environ
from pathlib import Path

import pytest

from evaluations.chaos.stack import chroma_server
from evaluations.servers import free_ports
from rag.bootstrap import Workspace, open_workspace
from rag.domain import SearchFilter
from rag.errors import Busy, ConfigurationError
from rag.ingestion.jobs import JobRunner
from rag.operations import backup as backups
from rag.operations.backup_snapshot import place_of_snapshot, snapshot_asked_for, take_snapshot
from rag.operations.recorded import BACKED_UP, recorded
from rag.settings import Settings, load_settings

QUESTION = "notice of error within business days"


@dataclass(frozen=True, slots=True)
class Bank:
    """What its machines share. `machine` is one of them, with a disk of its own."""

    folder: Path
    environment: dict[str, str]

    def variables(self, machine: str) -> dict[str, str]:
        return self.environment | {"BANKSIGHT_DATA_DIR": str(self.folder / machine)}

    def settings(self, machine: str) -> Settings:
        return load_settings("test", environment=self.variables(machine))

    def originals(self) -> set[str]:
        return {path.name for path in (self.folder / "files" / "originals").glob("*/*")}


@pytest.fixture
def bank(tmp_path: Path, corpus_folder: Path, postgres_url: str) -> Iterator[Bank]:
    (tmp_path / "password").write_text("correct horse battery staple")
    (port,) = free_ports(1)
    chroma = chroma_server(tmp_path, port)
    chroma.start()
    yield Bank(
        tmp_path,
        {
            "BANKSIGHT_PROFILE": "test",
            "BANKSIGHT__SOURCES": f"[{{name: papers, collection: rules, root: {corpus_folder}}}]",
            "BANKSIGHT__INGESTION__SERVING": "worker",
            "BANKSIGHT__STORAGE__CHROMA": "server",
            "BANKSIGHT__STORAGE__CHROMA_PORT": str(port),
            "BANKSIGHT__BACKUP__WAIT_SECONDS": "60",
            "VECTOR_DB_HOST": "127.0.0.1",
            "DATABASE_URL": postgres_url,
            "FILES_DIR": str(tmp_path / "files"),
            "BACKUP_REPOSITORY": str(tmp_path / "backups"),
            "BACKUP_PASSWORD_FILE": str(tmp_path / "password"),
        },
    )
    chroma.stop()


@contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    with closing(open_workspace(settings)) as workspace:
        yield workspace


@contextmanager
def worker(bank: Bank) -> Iterator[Workspace]:
    """What `banksight worker` runs."""
    with opened(bank.settings("worker")) as workspace, ExitStack() as ends:
        snapshot = partial(snapshot_asked_for, workspace)
        jobs = JobRunner(
            workspace.ingest, workspace.registry.jobs, delete=workspace.delete_asked_for, snapshot=snapshot
        )
        jobs.start()
        ends.callback(jobs.close)
        yield workspace


def command(bank: Bank, machine: str, *words: str) -> subprocess.CompletedProcess[str]:
    ours = environ | bank.variables(machine)
    program = [sys.executable, "-m", "rag.cli", "backup", *words]
    return subprocess.run(program, env=ours, capture_output=True, text=True, check=False, timeout=180)


def quiet(_: object) -> None:
    """Progress that nobody watches."""


def test_another_machine_saves_what_the_worker_copies_and_brings_it_back(bank: Bank, corpus_folder: Path) -> None:
    other = bank.settings("other")
    with worker(bank) as workspace:
        assert workspace.ingest().count("added") == 3
        with closing(open_workspace(bank.settings("node"), access="read")) as node:
            assert take_snapshot(node).facts.documents == 3  # the worker makes it
        created = command(bank, "other", "create", "--no-verify", "--json")
        assert created.returncode == 0, created.stderr
        saved = json.loads(created.stdout)["id"]
        assert not place_of_snapshot(other).exists()

        (corpus_folder / "later.txt").write_text("The vault opens at nine.\n")
        workspace.ingest()
        originals = bank.originals()
        assert len(originals) == 4
        proof = backups.verify(other, saved, opened, quiet)
        assert (proof.facts.documents, proof.questions) == (3, 3)
        assert bank.originals() == originals  # the proof is beside what is live, also where that is in another folder
        assert workspace.check().agrees
        assert BACKED_UP in recorded(bank.settings("a node").files_dir)
        with pytest.raises(Busy, match="another process writes"):
            backups.restore(other, saved, opened, quiet, replace=True)
        assert workspace.check().agrees

    with pytest.raises(ConfigurationError, match="--replace"):
        backups.restore(other, saved, opened, quiet, replace=False)
    done = backups.restore(other, saved, opened, quiet, replace=True)
    assert {each.name for folder in done.kept for each in folder.iterdir()} >= {"originals", "registry.sqlite3"}
    assert bank.originals() < originals
    with opened(bank.settings("worker")) as workspace:  # nobody's right to write came out of the backup
        assert len(workspace.documents(workspace.principal())) == 3
        workspace.check("repair")  # this machine's lexical index is of later
        assert workspace.check().agrees
        found = workspace.searcher.search(QUESTION, workspace.principal(), SearchFilter(), 3)
        assert "10 business days" in found[0].text
        assert {job["state"] for job in workspace.registry.jobs.list_jobs()} == {"succeeded"}  # none is done again
