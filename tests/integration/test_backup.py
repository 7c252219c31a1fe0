"""Backups of a real corpus in a real restic repository: what comes back, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import integers
from sqlalchemy import create_engine

from rag.bootstrap import Workspace, open_workspace
from rag.domain import SearchFilter
from rag.errors import BackupRejected, Busy, ConfigurationError, NotFound
from rag.operations import backup as backups
from rag.operations.backup_manifest import Facts, digest_of_pairs, read_manifest, require_usable, seal
from rag.operations.backup_repository import BackupRepository, damaged_files
from rag.operations.backup_snapshot import place_of_snapshot, take_snapshot
from rag.operations.recorded import BACKED_UP, recorded
from rag.settings import BackupSettings, Settings, load_settings
from rag.storage.database import _alembic, open_database, schema_revisions

CORPUS = {
    "electronic-transfers.md": "# Electronic transfers\n\n## § 11 Errors\n\nA financial institution shall determine "
    "whether an error occurred within 10 business days of receiving a notice of error.\n",
    "fees.csv": "product,monthly fee,overdraft fee\nBasic account,$4.50,$12.00\nStudent account,$0.00,$6.00\n",
    "opening-hours.txt": "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.\n",
}
FACTS = Facts("2026-01-01T00:00:00+00:00", "0.1.0", schema_revisions()[0], "default", {}, 1, 0, 0, "", ())
QUESTION = "How many business days does an institution have to determine whether an error occurred?"


@contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    workspace = open_workspace(settings)
    try:
        yield workspace
    finally:
        workspace.close()


def quiet(_: object) -> None:
    """Progress that nobody watches."""


def create(settings: Settings) -> str:
    def take() -> None:
        with opened(settings) as workspace:
            take_snapshot(workspace)

    return backups.create(settings, take, quiet, quiet)


@pytest.fixture(scope="session", autouse=True)
def restic() -> None:
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed; install the package restic")


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data` with three documents and an upload, ingested once; tests copy it."""
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "corpus").mkdir()
    for name, text in CORPUS.items():
        (folder / "corpus" / name).write_text(text, encoding="utf-8")
    with opened(settings_of(folder)) as workspace:
        workspace.ingest()
        workspace.add_upload("note.txt", b"The vault opens at nine in the morning.", principal=workspace.principal())
        workspace.ingest(["uploads"])
    return folder


def settings_of(folder: Path) -> Settings:
    sources = [{"name": "papers", "collection": "rules", "root": str(folder / "corpus")}]
    backup = {"repository": str(folder / "backups"), "password_file": str(folder / "password")}
    more = {"sources": sources, "backup": backup, "embedding": {"bulk_backend": "onnx"}}
    return load_settings("test", environment={}, overrides={"data_dir": str(folder / "data"), **more})


@pytest.fixture
def live(ingested: Path, tmp_path: Path) -> Settings:
    """Settings of an ingested corpus whose backups go to a folder of this test."""
    shutil.copytree(ingested, tmp_path, dirs_exist_ok=True)
    (tmp_path / "password").write_text("correct horse battery staple\n")
    return settings_of(tmp_path)


def elsewhere(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"data_dir": folder})


@pytest.mark.proves("SOC 2 A1.2", "ISO A.8.13")
def test_what_was_saved_comes_back_in_an_empty_place(live: Settings, tmp_path: Path) -> None:
    with opened(live) as workspace:
        principal = workspace.principal()
        before = [each.chunk_id for each in workspace.searcher.search(QUESTION, principal, SearchFilter(), 5)]
        documents = workspace.documents(principal)
    saved = create(live)
    proof = backups.verify(live, saved, opened, quiet)
    assert (proof.facts.documents, proof.questions) == (4, 4)
    assert BACKED_UP in recorded(live.data_dir)

    there = elsewhere(live, tmp_path / "other")
    done = backups.restore(there, "latest", opened, quiet, replace=False)
    assert done.kept == ()
    with opened(there) as workspace:
        assert [e.chunk_id for e in workspace.searcher.search(QUESTION, principal, SearchFilter(), 5)] == before
        assert workspace.documents(principal) == documents
        assert workspace.check().agrees
        assert {each.outcome for each in workspace.ingest().outcomes} == {"unchanged"}
        assert workspace.original(documents[0].id, principal)[0].is_file()
    assert not list((there.data_dir / "backup").glob("restored-*"))


def test_a_live_corpus_is_replaced_only_when_told_and_is_kept(live: Settings, tmp_path: Path) -> None:
    create(live)
    (tmp_path / "corpus" / "fees.csv").unlink()
    with opened(live) as workspace:
        workspace.ingest()
    with pytest.raises(ConfigurationError, match="--replace"):
        backups.restore(live, "latest", opened, quiet, replace=False)
    with opened(live) as workspace:
        assert len(workspace.documents(workspace.principal())) == 3
    done = backups.restore(live, "latest", opened, quiet, replace=True)
    assert (done.kept[0] / "registry.sqlite3").is_file()
    with opened(live) as workspace:
        assert len(workspace.documents(workspace.principal())) == 4
        assert workspace.check().agrees


@pytest.mark.proves("ISO A.5.17")
def test_a_backup_holds_no_secret(live: Settings) -> None:
    with_secrets = live.model_copy(
        update={"cache": live.cache.model_copy(update={"secret": type(live.cache.secret)("hush-hush-hush")})}
    )
    with opened(with_secrets) as workspace:
        take_snapshot(workspace)
    folder = place_of_snapshot(live)
    assert json.loads((folder / "configuration.json").read_text())["tenant"] == live.tenant
    for path in folder.rglob("*"):
        assert not path.is_file() or b"hush-hush" not in path.read_bytes(), path


def test_a_lost_original_is_told_before_a_backup_without_it_exists(live: Settings) -> None:
    next((live.data_dir / "originals").glob("*/*")).write_bytes(b"rotten")
    with pytest.raises(Exception, match="original"):
        create(live)
    with pytest.raises(NotFound):
        BackupRepository(live.backup, live.root).find("latest")


def test_damaged_mixed_foreign_and_newer_backups_are_refused(live: Settings, tmp_path: Path) -> None:
    with opened(live) as workspace:
        take_snapshot(workspace)
    folder = place_of_snapshot(live)
    facts = read_manifest(folder).facts

    def refused(what: str, tenant: str = live.tenant) -> None:
        with pytest.raises(BackupRejected, match=what):
            require_usable(copy, tenant)

    copy = tmp_path / "copy"
    for name in ("registry.sqlite3", "manifest.json"):
        shutil.copytree(folder, copy)
        path = copy / name
        path.write_bytes(path.read_bytes()[:-1])
        refused("damaged")
        shutil.rmtree(copy)
    shutil.copytree(folder, copy)
    (copy / "vectors" / "of-another-backup.npy").write_bytes(b"")
    refused("damaged or mixed at vectors/of-another-backup.npy")
    (copy / "vectors" / "of-another-backup.npy").unlink()
    refused("of the tenant default", "another bank")
    seal(copy, replace(facts, schema_revision="9999", app_version="99.0.0"))
    refused("BankSight 99.0.0 with schema 9999")
    (copy / "manifest.json").unlink()
    refused("no backup of BankSight")


def test_a_backup_of_an_older_schema_is_brought_to_ours(live: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    (folder / "vectors").mkdir(parents=True)
    engine = create_engine(f"sqlite:///{folder / 'registry.sqlite3'}")
    with engine.begin() as connection:
        command.upgrade(_alembic(connection), "0005_quarantine")
    engine.dispose()
    seal(folder, replace(FACTS, schema_revision="0005_quarantine", snapshot=0, chunks_digest=digest_of_pairs(set())))
    repository = BackupRepository(live.backup, live.root)
    repository.prepare()
    repository.save(folder, {}, quiet)
    done = backups.restore(elsewhere(live, tmp_path / "new"), "latest", opened, quiet, replace=False)
    assert done.proof.facts.schema_revision == "0005_quarantine"
    open_database(f"sqlite:///{tmp_path / 'new' / 'registry.sqlite3'}", "require").dispose()


def test_a_registry_of_another_moment_is_refused(live: Settings, tmp_path: Path) -> None:
    """Every digest is right, but registry and vectors are of two moments."""
    with opened(live) as workspace:
        take_snapshot(workspace)
        folder = place_of_snapshot(live)
        facts = read_manifest(folder).facts
        (tmp_path / "corpus" / "fees.csv").unlink()
        workspace.ingest()
        (folder / "registry.sqlite3").unlink()
        workspace.registry.copy_to(folder / "registry.sqlite3")
    seal(folder, facts)
    repository = BackupRepository(live.backup, live.root)
    repository.prepare()
    repository.save(folder, {}, quiet)
    with pytest.raises(BackupRejected, match="differ"):
        backups.verify(live, "latest", opened, quiet)


@pytest.fixture(scope="session")
def small_repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BackupSettings]:
    """A repository that holds one sealed folder with two files, and the settings that open it."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "password").write_text("secret")
    (folder / "saved" / "vectors").mkdir(parents=True)
    (folder / "saved" / "registry.sqlite3").write_bytes(bytes(range(256)) * 4)
    (folder / "saved" / "vectors" / "rules-1.npy").write_bytes(b"\x93NUMPY" * 40)
    seal(folder / "saved", FACTS)
    settings = load_settings("test", environment={}).backup.model_copy(
        update={"repository": str(folder / "repository"), "password_file": str(folder / "password")}
    )
    repository = BackupRepository(settings, folder)
    repository.prepare()
    repository.save(folder / "saved", {}, quiet)
    return folder, settings


@pytest.mark.proves("SOC 2 A1.2", "ISO A.8.13")
@given(place=integers(0, 10**9), bit=integers(0, 7))
@hypothesis_settings(max_examples=100, deadline=None)
def test_a_flipped_bit_of_a_backup_is_found_wherever_it_is(
    small_repository: tuple[Path, BackupSettings], place: int, bit: int
) -> None:
    saved = small_repository[0] / "saved"
    with (
        flipped([path for path in sorted(saved.rglob("*")) if path.is_file()], place, bit),
        pytest.raises(BackupRejected),
    ):
        require_usable(saved, FACTS.tenant)


@given(place=integers(0, 10**9), bit=integers(0, 7))
@hypothesis_settings(max_examples=30, deadline=None)
def test_a_flipped_bit_of_the_repository_is_found_wherever_it_is(
    small_repository: tuple[Path, BackupSettings], place: int, bit: int
) -> None:
    repository = small_repository[0] / "repository"
    named = [path for path in sorted(repository.rglob("*")) if path.is_file() and path.name != "config"]
    with flipped(named, place, bit):
        assert len(damaged_files(repository)) == 1


def test_a_flipped_bit_of_the_repositorys_configuration_is_found(
    small_repository: tuple[Path, BackupSettings],
) -> None:
    """The one file that is not named by its digest; restic authenticates it."""
    folder, settings = small_repository
    repository = BackupRepository(settings, folder)
    repository.require_whole()
    config = folder / "repository" / "config"
    for place in (0, config.stat().st_size // 2, config.stat().st_size - 1):
        with flipped([config], place, 3), pytest.raises((BackupRejected, ConfigurationError, NotFound)):
            repository.require_whole()


@contextmanager
def flipped(files: list[Path], place: int, bit: int) -> Iterator[None]:
    """One bit of the files, counted through all of them, the other way round for a while."""
    place %= sum(path.stat().st_size for path in files)
    for path in files:
        if place < path.stat().st_size:
            break
        place -= path.stat().st_size
    before = path.read_bytes()
    mode = path.stat().st_mode
    path.chmod(0o600)  # restic's files cannot be written
    changed = bytearray(before)
    changed[place] ^= 1 << bit
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


def test_one_backup_is_made_at_a_time(live: Settings) -> None:
    def meanwhile() -> None:
        with pytest.raises(Busy, match="another backup"):
            backups.create(live, lambda: None, quiet, quiet)
        raise ConfigurationError("enough")

    with pytest.raises(ConfigurationError, match="enough"):
        backups.create(live, meanwhile, quiet, quiet)
    assert BackupRepository(live.backup, live.root).backups() == []


def test_a_wrong_password_is_told(live: Settings, tmp_path: Path) -> None:
    create(live)
    (tmp_path / "password").write_text("guess")
    with pytest.raises(ConfigurationError, match="password does not open"):
        BackupRepository(live.backup, live.root).backups()


def test_without_a_repository_the_command_says_what_to_set(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="BACKUP_REPOSITORY"):
        BackupRepository(settings.backup, settings.root)
