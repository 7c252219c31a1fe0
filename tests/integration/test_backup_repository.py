"""The restic repository itself: in an object store, half written, of long ago, and where something is wrong with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rag.errors import BackupRejected, Busy, ConfigurationError, NotFound
from rag.operations import backup as backups
from rag.operations.backup_manifest import Facts, require_usable, seal
from rag.operations.backup_repository import BackupRepository
from rag.settings import Settings, load_settings
from rag.storage.database import schema_revisions
from rag.testing_object_store import ACCESS_KEY_ID, REGION, SECRET, ObjectStore

FACTS = Facts("2026-01-01T00:00:00+00:00", "0.1.0", schema_revisions()[0], "default", {}, 1, 0, 0, "", ())
SAVE = """
import sys
from pathlib import Path
from rag.operations.backup_repository import BackupRepository
from rag.settings import load_settings
settings = load_settings("test")
repository = BackupRepository(settings.backup, settings.root)
repository.prepare()
repository.save(Path(sys.argv[1]), {}, lambda _: None)
"""


def quiet(_: object) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def object_store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """What a snapshot of nothing looks like."""
    folder = tmp_path / "sealed"
    (folder / "vectors").mkdir(parents=True)
    (folder / "vectors" / "rules-1.npy").write_bytes(os.urandom(100_000))
    seal(folder, FACTS)
    return folder


@pytest.fixture
def environment(tmp_path: Path, object_store: ObjectStore) -> dict[str, str]:
    """Variables of an installation that saves to the object store; the secrets come from files."""
    for name, content in (("password", "correct horse"), ("secret", SECRET), ("id", ACCESS_KEY_ID)):
        (tmp_path / name).write_text(f"{content}\n")
    return {
        "BANKSIGHT_DATA_DIR": str(tmp_path / "data"),
        "BACKUP_REPOSITORY": object_store.url,
        "BACKUP_PASSWORD_FILE": str(tmp_path / "password"),
        "AWS_ACCESS_KEY_ID_FILE": str(tmp_path / "id"),
        "AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret"),
        "BANKSIGHT__BACKUP__OPTIONS": f"[s3.region={REGION}, s3.bucket-lookup=path]",
    }


def repository_of(environment: dict[str, str]) -> BackupRepository:
    settings = load_settings("test", environment=environment)
    return BackupRepository(settings.backup, settings.root)


def test_a_backup_in_an_object_store_comes_back(environment: dict[str, str], sealed: Path, tmp_path: Path) -> None:
    repository = repository_of(environment)
    repository.prepare()
    saved = repository.save(sealed, {"documents": "0"}, quiet)
    repository.require_whole()
    assert [each.facts for each in repository.backups()] == [{"documents": "0"}]
    repository.fetch(saved, tmp_path / "fetched")
    assert require_usable(tmp_path / "fetched", "default").facts == FACTS


def test_a_changed_object_is_found(environment: dict[str, str], sealed: Path, object_store: ObjectStore) -> None:
    repository = repository_of(environment)
    repository.prepare()
    repository.save(sealed, {}, quiet)
    (objects,) = object_store.buckets.values()
    name = next(name for name in objects if name.startswith("data/"))
    changed = bytearray(objects[name])
    changed[len(changed) // 2] ^= 1
    objects[name] = bytes(changed)
    with pytest.raises(BackupRejected, match="damaged"):
        repository.require_whole()


@pytest.mark.parametrize("part", ["data/", "snapshots/"])
def test_a_killed_upload_is_no_backup_and_the_next_one_works(
    environment: dict[str, str], sealed: Path, object_store: ObjectStore, tmp_path: Path, part: str
) -> None:
    repository = repository_of(environment)
    repository.prepare()
    reached: list[str] = []

    def kill(name: str) -> None:
        if name.startswith(part) and not reached:
            reached.append(name)
            os.killpg(process.pid, signal.SIGKILL)
            raise ConnectionAbortedError  # the store was cut off in the middle of this one, too

    object_store.before_put = kill
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE, str(sealed)], env=os.environ | environment, start_new_session=True
    )
    assert process.wait(120) == -signal.SIGKILL
    assert reached
    assert repository.backups() == []
    with pytest.raises(NotFound):
        repository.find("latest")
    saved = repository.save(sealed, {}, quiet)
    repository.require_whole()
    repository.fetch(saved, tmp_path / "fetched")
    assert require_usable(tmp_path / "fetched", "default").facts == FACTS
    assert repository.forget(30) == 0  # the dead one's lock holds up nobody


def test_credentials_are_shown_nowhere(environment: dict[str, str], object_store: ObjectStore) -> None:
    settings = load_settings("test", environment=environment)
    assert settings.backup.secret_access_key.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings.backup), settings.model_dump_json(), repr(repository_of(environment))):
        assert SECRET not in shown
    seen: list[str] = []

    def look(_: str) -> None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(process.read_text(errors="replace"))
            except OSError:
                continue

    object_store.before_put = look
    repository_of(environment).prepare()
    assert any("restic" in each for each in seen)
    assert not any(SECRET in each or "correct horse" in each for each in seen)


def test_credentials_may_come_from_a_file_in_the_form_of_aws(
    environment: dict[str, str], sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = f"[default]\naws_access_key_id = {ACCESS_KEY_ID}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(content)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    repository = repository_of({name: value for name, value in environment.items() if not name.startswith("AWS_")})
    repository.prepare()
    repository.save(sealed, {}, quiet)
    assert len(repository.backups()) == 1


def listed(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What the command says, typed into a shell."""
    command = [sys.executable, "-m", "rag.cli", "backup", "list"]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )


WRONG = {
    "region": (
        {"BANKSIGHT__BACKUP__OPTIONS": "[s3.region=us-west-1, s3.bucket-lookup=path]"},
        3,
        "name the bucket's, with s3.region",
    ),
    "key": ({"AWS_ACCESS_KEY_ID": "somebody"}, 3, "refuses these credentials"),
    "address": ({"BACKUP_REPOSITORY": "s3:http://127.0.0.1:9/bank-backups"}, 3, "nothing answers at 127.0.0.1:9"),
    "password": ({"BACKUP_PASSWORD_FILE": "/nowhere/password"}, 3, "holds no password"),
    "nothing yet": ({}, 3, "there are no backups"),
}


@pytest.mark.parametrize(("wrong", "code", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_changed(
    environment: dict[str, str], object_store: ObjectStore, wrong: dict[str, str], code: int, said: str
) -> None:
    done = listed(environment | wrong)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert SECRET not in done.stderr
    assert object_store.buckets == {}


@pytest.mark.parametrize("wrong", ["region", "key"])
def test_no_repository_is_made_where_the_store_refuses(
    environment: dict[str, str], object_store: ObjectStore, wrong: str
) -> None:
    with pytest.raises(ConfigurationError):
        repository_of(environment | WRONG[wrong][0]).prepare()
    assert object_store.buckets == {}


@pytest.fixture
def local(tmp_path: Path, environment: dict[str, str]) -> Settings:
    """Settings whose backups go to a folder."""
    return load_settings("test", environment=environment | {"BACKUP_REPOSITORY": str(tmp_path / "backups")})


def test_a_folder_with_something_else_is_left_alone(local: Settings, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "letters.txt").write_text("of another program")
    with pytest.raises(ConfigurationError, match="something else"):
        BackupRepository(local.backup, local.root).prepare()
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["letters.txt"]


def restic_at(local: Settings) -> list[str]:
    return ["restic", "--repo", local.backup.repository, "--password-file", local.backup.password_file]


def restic(local: Settings, *words: str) -> str:
    return subprocess.run([*restic_at(local), *words], check=True, capture_output=True, text=True, timeout=60).stdout


def day(age: int) -> str:
    return (datetime.now(UTC) - timedelta(days=age)).strftime("%Y-%m-%d %H:%M:%S")


def saved_days_ago(local: Settings, sealed: Path, *ages: int) -> BackupRepository:
    """A repository with backups of so many days ago, each with content of its own."""
    repository = BackupRepository(local.backup, local.root)
    repository.prepare()
    for age in ages:
        (sealed / f"of-{age}").write_bytes(os.urandom(200_000))
        restic(local, "backup", "--tag", "banksight,documents:0", "--time", day(age), str(sealed))
        (sealed / f"of-{age}").unlink()
    return repository


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())


def prune(local: Settings, repository: BackupRepository) -> int:
    """Prune as the command does, where the newest backup has been proved."""
    (local.files_dir / "backup").mkdir(parents=True, exist_ok=True)
    (local.files_dir / "backup" / "proved").write_text(repository.find("latest").id)
    return backups.prune(local, 30, lambda _: pytest.fail("proved already"), quiet)


def test_what_is_older_than_thirty_days_is_deleted_with_its_bytes(
    local: Settings, sealed: Path, tmp_path: Path
) -> None:
    repository = saved_days_ago(local, sealed, 90, 31, 29, 0)
    restic(local, "backup", "--tag", "another program", "--time", "2020-01-01 00:00:00", str(sealed))
    before = size(tmp_path / "backups")
    assert prune(local, repository) == 2
    assert [each.created_at[:10] for each in repository.backups()] == [day(age)[:10] for age in (29, 0)]
    assert before - size(tmp_path / "backups") > 2 * 190_000
    repository.require_whole()
    everything = json.loads(restic(local, "--json", "snapshots"))
    assert len(everything) == 3  # another program's stays, however old


def test_the_last_backup_stays_however_old_it_is(local: Settings, sealed: Path) -> None:
    repository = saved_days_ago(local, sealed, 400, 300)
    assert prune(local, repository) == 1
    assert len(repository.backups()) == 1


def test_nothing_is_deleted_while_the_newest_is_not_whole(local: Settings, sealed: Path) -> None:
    """Days of backups that cannot be restored must not push out the last one that can."""
    repository = saved_days_ago(local, sealed, 90, 0)
    with pytest.raises(BackupRejected):
        backups.prune(local, 30, lambda _: pytest.fail("it is no backup of ours"), quiet)
    assert len(repository.backups()) == 2


def test_who_deletes_waits_for_another_one_that_works_there(local: Settings, sealed: Path) -> None:
    repository = saved_days_ago(local, sealed, 0)
    waiting = subprocess.Popen(
        [*restic_at(local), "backup", "--stdin"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        locks = Path(local.backup.repository) / "locks"
        until = time.monotonic() + 60
        while not any(locks.iterdir()):
            assert time.monotonic() < until
            time.sleep(0.05)
        with pytest.raises(Busy, match="another process works on the backups"):
            prune(local, repository)
    finally:
        waiting.kill()
        waiting.wait()
        assert waiting.stdin
        waiting.stdin.close()
    assert prune(local, repository) == 0
