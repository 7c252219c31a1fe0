"""Backups that come by themselves: the script of the image, and what schedules it in compose and Kubernetes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from rag.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"
SCRIPT = DEPLOY / "images" / "backup.sh"
STAND_IN = """#!/bin/sh
echo "$2" >> "$CALLS"
[ "$2" != "$FAILS" ]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `banksight` and `date` of our own, which write down how they were called."""
    for name, text in (("banksight", STAND_IN), ("date", '#!/bin/sh\necho "$DAY"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = SCRIPT.read_text(encoding="utf-8").replace("/tmp/backup-failed", str(tmp_path / "failed"))
    (tmp_path / "backup.sh").write_text(script)
    (tmp_path / "calls").touch()
    return tmp_path


def environment(place: Path, day: str = "17", fails: str = "nothing") -> dict[str, str]:
    return {"PATH": f"{place}:{os.environ['PATH']}", "CALLS": str(place / "calls"), "DAY": day, "FAILS": fails}


def once(place: Path, day: str = "17", fails: str = "nothing") -> tuple[int, list[str]]:
    """Exit code, and what `banksight backup` was asked to do."""
    done = subprocess.run(["sh", place / "backup.sh"], env=environment(place, day, fails), check=False, timeout=30)
    return done.returncode, (place / "calls").read_text().split()


def test_a_backup_is_made_before_old_ones_go(place: Path) -> None:
    assert once(place) == (0, ["create", "prune"])


def test_on_the_first_of_a_month_it_is_restored_against_the_clock(place: Path) -> None:
    assert once(place, day="01") == (0, ["create", "prune", "drill"])


@pytest.mark.parametrize(("fails", "asked"), [("create", ["create"]), ("prune", ["create", "prune"])])
def test_what_failed_is_told_and_stops_the_rest(place: Path, fails: str, asked: list[str]) -> None:
    assert once(place, day="01", fails=fails) == (1, asked)


def test_the_service_is_unwell_while_the_last_backup_failed(place: Path) -> None:
    check = ["sh", str(place / "backup.sh"), "check"]
    assert subprocess.run(check, check=False, timeout=30).returncode == 0
    service = subprocess.Popen(
        ["sh", place / "backup.sh", "86400"], env=environment(place, fails="create"), stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 30
    while subprocess.run(check, check=False, timeout=30).returncode == 0:
        assert time.monotonic() < until
    os.killpg(service.pid, 9)
    assert service.communicate()[1] == b"the backup failed; trying again in ten minutes\n"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with every secret of the compose stack."""
    for name in ("database_url", "redis_url", "cache_secret", "key_pepper", "backup_password", "backup_credentials"):
        (tmp_path / name).write_text(os.urandom(32).hex())
    return tmp_path


def test_settings_of_the_compose_service_are_known_and_complete(secrets: Path) -> None:
    (service,) = yaml.safe_load((DEPLOY / "compose" / "backup.yaml").read_text(encoding="utf-8"))["services"].values()
    given = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value).replace("/run/secrets", str(secrets))
        for name, value in service["environment"].items()
    }
    settings = load_settings("production", environment=given)
    assert (settings.backup.repository, settings.backup.password_file) == ("/backups", str(secrets / "backup_password"))
    assert settings.ingestion.serving == "worker"  # which is asked for the copy
    mounts = {each["target"] for each in service["volumes"] if isinstance(each, dict)}
    assert {"/backups"} == mounts
    assert "files:/files" in service["volumes"]
    assert service["command"][0] == "backup.sh"


def job() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "backup.yaml").read_text(encoding="utf-8"))
    (found,) = (each["spec"] for each in documents if each["kind"] == "CronJob")
    return dict(found)


def test_kubernetes_makes_one_backup_a_day_and_never_two_at_a_time() -> None:
    assert re.fullmatch(r"\d+ \d+ \* \* \*", job()["schedule"])
    assert job()["concurrencyPolicy"] == "Forbid"
    pod = job()["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["command"] == ["backup.sh"]


def test_settings_of_the_job_are_known_and_its_password_is_a_file(secrets: Path) -> None:
    (shared,) = (
        each["data"]
        for each in yaml.safe_load_all((DEPLOY / "kubernetes" / "configuration.yaml").read_text(encoding="utf-8"))
        if each["kind"] == "ConfigMap"
    )
    pod = job()["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    own = {each["name"]: each["value"] for each in container["env"]}
    secret = {"DATABASE_URL": "postgresql://db/b", "REDIS_URL": "redis://redis", "CACHE_SECRET": os.urandom(32).hex()}
    key = {"KEY_PEPPER": os.urandom(32).hex(), "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    settings = load_settings("production", environment=shared | secret | key | own)
    assert settings.backup.repository.startswith("s3:https://oss-")
    assert settings.backup.options == ("s3.bucket-lookup=dns", "s3.region=oss-REGION")
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert Path(settings.backup.password_file).parent == Path(mounted["password"])
    assert mounted["files"] == str(settings.files_dir)
    (volume,) = (each["secret"] for each in pod["volumes"] if each["name"] == "password")
    assert volume["secretName"] in {each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each}
