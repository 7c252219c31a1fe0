"""The machines' start scripts, run in a folder of their own, with stand-ins for the cloud and for systemd."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "configs" / "deploy" / "alibaba"
TEMPLATE = json.loads((FOLDER / "template.json").read_text(encoding="utf-8"))
# Every place that the scripts write to; each is moved below the test's folder.
PLACES = ("/etc/", "/run/banksight", "/mnt/", "/var/lib/", "/var/log/", "/usr/local/sbin/")
STAND_IN = """\
#!/bin/bash
echo "${0##*/} $*" >> "$CALLS"
case "${0##*/} $*" in
  *"kms GetSecretValue"*"$EMPTY_SECRET"*) echo '{"SecretData": ""}' ;;
  *"kms GetSecretValue"*) echo '{"SecretData": "of the vault"}' ;;
  *"cr GetAuthorizationToken"*) echo '{"AuthorizationToken": "one hour", "TempUsername": "cr_temp"}' ;;
  "curl "*"/security-credentials/") echo role ;;
  "curl "*"/security-credentials/role")
    echo '{"AccessKeyId": "STS.id", "AccessKeySecret": "of an hour", "SecurityToken": "token"}' ;;
  "docker exec"*) echo "$AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN" > "$CALLS.key" ;;
  "docker login"*) cat > "$CALLS.login" ;;
  "docker pull -q "*"$MISSING_IMAGE") exit 1 ;;
  "mountpoint"*) exit 1 ;;
  "blkid -s UUID"*) echo 1234 ;;
esac
"""
NAMES = "aliyun docker curl mount mountpoint mount.nfs4 openssl systemctl chown blkid mkfs.ext4 nvidia-smi"


@dataclass(frozen=True)
class Run:
    code: int
    root: Path
    calls: list[str]

    def unit(self, name: str) -> str:
        return (self.root / "etc/systemd/system" / f"{name}.service").read_text(encoding="utf-8")

    @property
    def log(self) -> str:
        return (self.root / "var/log/banksight-launch.log").read_text(encoding="utf-8")


def start(resource: str, root: Path, values: dict[str, str] | None = None, **environment: str) -> Run:
    """Run the script of that machine below `root`."""
    given, script = TEMPLATE["Resources"][resource]["Properties"]["UserData"]["Fn::Replace"]
    chosen = {"@ADMITTED@": "10"} | (values or {})
    for name in given:
        script = script.replace(name, chosen.get(name, name.strip("@").lower()))
    for place in PLACES:
        script = script.replace(place, f"{root}{place}")
    script = script.replace("install -d -o", ": -o")  # to another owner: root only
    for folder in (
        "bin",
        "etc/systemd/system",
        "etc/ilogtail",
        "var/lib",
        "var/log",
        "usr/local/sbin",
        "mnt/banksight/files",
    ):
        (root / folder).mkdir(parents=True)
    (root / "etc/fstab").touch()
    for name in NAMES.split():
        stand_in = root / "bin" / name
        stand_in.write_text(STAND_IN, encoding="utf-8")
        stand_in.chmod(0o755)
    file = root / "start.sh"
    file.write_text(script, encoding="utf-8")
    file.chmod(0o755)
    calls = root / "calls"
    variables = {"EMPTY_SECRET": "none", "MISSING_IMAGE": "none"} | environment
    result = subprocess.run(
        ["bash", str(file)],
        env={"PATH": f"{root}/bin:{os.environ['PATH']}", "CALLS": str(calls), **variables},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Run(result.returncode, root, calls.read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start("NodeConfiguration", tmp_path_factory.mktemp("node"), {"@GPUS@": "all", "@ENGINE@": "mistral"})


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return start("ChromaNode", tmp_path_factory.mktemp("maker"))


def test_node_starts_api_and_chat_by_digest_and_without_privileges(node: Run) -> None:
    assert node.code == 0, node.log
    (line,) = [line for line in node.unit("banksight-backend").splitlines() if line.startswith("ExecStart=")]
    assert line.endswith("registry/banksight-backend@backend_digest")
    for option in ("--gpus all", "--read-only", "--cap-drop ALL", "--user 10001:10001", "no-new-privileges"):
        assert option in line
    assert "--gpus" not in node.unit("banksight-ui")
    calls = [call.split(" registry/")[0] for call in node.calls]
    assert calls.index("docker pull -q") < calls.index(
        "systemctl restart banksight-backend banksight-ui banksight-p95.timer"
    )


def test_node_without_card_quotes_and_asks_for_no_card(tmp_path: Path) -> None:
    run = start("NodeConfiguration", tmp_path, {"@GPUS@": "none", "@ENGINE@": "extractive"})
    assert run.code == 0, run.log
    assert "--gpus" not in run.unit("banksight-backend")
    settings = (tmp_path / "etc/banksight/node.env").read_text(encoding="utf-8")
    assert "BANKSIGHT__ADMISSION__SLOTS=5\n" in settings, "of each of two processes"
    assert "BANKSIGHT__GENERATION__FALLBACK=[]" in settings
    assert "BANKSIGHT__GENERATION__SERVING=in_process" in settings
    assert not any(call.startswith("nvidia-smi") for call in run.calls)


def test_secrets_are_files_of_their_owner_and_in_no_argument(node: Run) -> None:
    folder = node.root / "run/banksight/secrets"
    assert {file.name for file in folder.iterdir()} == {"database-url", "redis-url", "cache-secret", "key-pepper"}
    for file in folder.iterdir():
        assert file.read_text(encoding="utf-8") == "of the vault"
        assert file.stat().st_mode & 0o077 == 0
    assert not any("of the vault" in call or "one hour" in call for call in node.calls)
    assert "of the vault" not in node.log
    assert (node.root / "calls.login").read_text(encoding="utf-8") == "one hour"
    assert any(call.startswith("docker logout") for call in node.calls)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"EMPTY_SECRET": "redis-url"}, "the secret banksight/redis-url is empty"),
        ({"MISSING_IMAGE": "banksight-ui@ui_digest"}, "FAILED: docker pull"),
    ],
)
def test_start_that_fails_says_why_and_starts_nothing(tmp_path: Path, fault: dict[str, str], said: str) -> None:
    run = start("NodeConfiguration", tmp_path, **fault)
    assert run.code == 1
    assert said in run.log
    assert not any(call.startswith("systemctl restart") for call in run.calls)


def test_machine_of_the_corpus_starts_chroma_and_the_first_ingestion(maker: Run) -> None:
    assert maker.code == 0, maker.log
    assert "registry/banksight-chroma@chroma_digest" in maker.unit("banksight-chroma")
    ingest = maker.unit("banksight-ingest")
    assert "ExecStartPre=/usr/bin/aliyun oss sync oss://documents_bucket" in ingest
    assert "ExecStart=/usr/bin/docker exec banksight-worker banksight ingest" in ingest
    assert maker.unit("banksight-worker").count("registry/banksight-backend@worker_digest worker.sh") == 1
    assert any("systemctl restart banksight-chroma banksight-worker" in call for call in maker.calls)
    assert "systemctl start --no-block banksight-ingest" in maker.calls
    assert not any(call.startswith("mkfs") for call in maker.calls), "a disk that holds something is never formatted"
    assert f"UUID=1234 {maker.root}/var/lib/banksight-chroma ext4" in (maker.root / "etc/fstab").read_text(
        encoding="utf-8"
    )


def test_backup_every_night_signs_in_as_the_machine_and_shows_no_key(maker: Run) -> None:
    timer = maker.root / "etc/systemd/system/banksight-backup.timer"
    assert "OnCalendar=*-*-* 03:30:00" in timer.read_text(encoding="utf-8")
    assert any("banksight-backup.timer" in call for call in maker.calls if call.startswith("systemctl restart"))
    program = Path(maker.unit("banksight-backup").split("ExecStart=")[1].strip())
    calls = maker.root / "calls-of-backup"
    environment = {"PATH": f"{maker.root}/bin:{os.environ['PATH']}", "CALLS": str(calls), "EMPTY_SECRET": "none"}
    subprocess.run(["bash", program], env=environment | {"MISSING_IMAGE": "none"}, check=True, timeout=60)
    said = calls.read_text(encoding="utf-8")
    assert said.splitlines()[-1].endswith("banksight-worker backup.sh")
    assert "of an hour" not in said
    assert (maker.root / "calls-of-backup.key").read_text(encoding="utf-8") == "STS.id of an hour token\n"
    assert "BACKUP_REPOSITORY=s3:https://oss-region-internal.aliyuncs.com/backups_bucket" in (
        maker.root / "etc/banksight/node.env"
    ).read_text(encoding="utf-8")


def test_scripts_run_again_after_a_reboot(maker: Run) -> None:
    assert f"ExecStart={maker.root}/usr/local/sbin/banksight-launch" in maker.unit("banksight-launch")
    assert (maker.root / "usr/local/sbin/banksight-launch").read_bytes() == (maker.root / "start.sh").read_bytes()
    assert "systemctl enable banksight-launch" in maker.calls


@pytest.mark.parametrize(("machine", "role"), [("NodeConfiguration", "node"), ("ChromaNode", "chroma")])
def test_role_allows_every_bucket_that_the_script_reads(machine: str, role: str) -> None:
    values, script = TEMPLATE["Resources"][machine]["Properties"]["UserData"]["Fn::Replace"]
    granted = TEMPLATE["Metadata"]["BankSight"]["Permissions"][role]
    for name in values:
        if name.endswith("_BUCKET@") and name in script:
            assert "oss:GetObject" in granted[name.strip("@").removesuffix("_BUCKET").lower()]
