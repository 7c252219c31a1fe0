"""The backend's image, built and run without a registry: `make test-image`. As root, with Debian's buildah, mmdebstrap
and docker-registry.

The base is a stand-in that mmdebstrap makes of Debian's packages. TEST_IMAGE_BASE names one that is there already, and
BUILD_ARGS, where set, goes to the builder: it can mount pip's settings and wheels of this site, which belong into no
image.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.image, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
BASE = "localhost/banksight-test-base"
QUESTION = "Within how many business days must a bank determine whether an error occurred?"
DOCUMENT = (
    "# Electronic transfers\n\n## Procedures for resolving errors\n\nA financial institution shall determine whether "
    "an error occurred within 10 business days of receiving a notice of error.\n"
)
BUILDER = {"TOOL": "buildah", "BUILDAH_ISOLATION": "chroot", "TARGET": "cpu"}
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"


def _run(*command: str | Path, seconds: float = 1800, **environment: str) -> str:
    """Standard output, without the newline at its end."""
    done = subprocess.run(
        command, env=os.environ | BUILDER | environment, cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _until(answers: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            if httpx.get(answers, timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{answers} did not answer")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian with Python, as an image."""
    if named := os.environ.get("TEST_IMAGE_BASE"):
        return named
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    _run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", archive)
    container = _run("buildah", "from", "scratch")
    _run("buildah", "add", "--quiet", container, archive, "/")
    _run("buildah", "commit", "--quiet", "--rm", container, BASE)
    return BASE


@pytest.fixture(scope="module")
def image(base: str) -> str:
    """The name of the image, built from the bento of this commit. TEST_IMAGE names one that was built before."""
    if named := os.environ.get("TEST_IMAGE"):
        return named
    assert not _run("git", "status", "--porcelain"), "commit first: the tag names a commit, and nothing else is pushed"
    _run("make", "bento")
    line = _run(ROOT / "configs/deploy/images/build.sh", "backend", BASE=base).splitlines()[-1]
    print(f"\n{line}")  # noqa: T201  the size
    return line.split()[0]


@dataclass(frozen=True)
class Place:
    """What containers of one deployment share."""

    folder: Path
    port: int
    chroma: int

    def command(self, image: str, *command: str) -> list[str]:
        """How to run a command in a new container of that image: no capabilities, our user, the machine's network."""
        container = _run("buildah", "from", "--pull-never", image)
        settings = {
            "BANKSIGHT_PROFILE": "laptop",
            "BANKSIGHT__INGESTION__SERVING": "worker",
            "FILES_DIR": "/shared/files",
            "BANKSIGHT__SOURCES": "[{name: rules, kind: filesystem, collection: rules, root: /documents}]",
            "BANKSIGHT__STORAGE__CHROMA": "server",
            "BANKSIGHT__STORAGE__CHROMA_PORT": str(self.chroma),
            "BANKSIGHT__SERVER__PORT": str(self.port),
            "BANKSIGHT__GENERATION__ENGINE": "simulated",
            "BANKSIGHT__GENERATION__SIMULATED__FIRST_TOKEN_SECONDS": "3",
            "VECTOR_DB_HOST": "127.0.0.1",
            "DATABASE_URL": "sqlite:////shared/registry.sqlite3",
            "NO_PROXY": "*",
        }
        variables = [word for pair in settings.items() for word in ("--env", "=".join(pair))]
        mounts = [
            word
            for mount in ("shared:/shared", "data:/var/lib/banksight", "documents:/documents:ro")
            for word in ("--volume", f"{self.folder}/{mount}")
        ]
        options = ["--isolation", "chroot", "--cap-drop", "all", "--user", "10001:10001"]
        return ["buildah", "run", *options, *variables, *mounts, container, "--", *command]


@pytest.fixture(scope="module")
def place(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A Chroma server, a worker in a container, and a corpus that it ingested."""
    folder = tmp_path_factory.mktemp("deployed")
    for name in ("shared", "data", "documents", "chroma"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)  # pytest's folders are for root only, and containers are not root
    (folder / "documents" / "transfers.md").write_text(DOCUMENT, encoding="utf-8")
    found = Place(folder, _port(), _port())
    chroma = [Path(sys.executable).with_name("chroma"), "run", "--path", folder / "chroma", "--port", str(found.chroma)]
    with _process(chroma, folder / "chroma.log") as server:
        _until(f"http://127.0.0.1:{found.chroma}/api/v2/heartbeat", server)
        with _process(found.command(image, "worker.sh"), folder / "worker.log") as worker:
            end = time.monotonic() + 300
            while "worker: ready" not in (log := (folder / "worker.log").read_text(encoding="utf-8")):
                assert worker.poll() is None, log[-3000:]
                assert time.monotonic() < end, log[-3000:]
                time.sleep(0.2)
            _run(*found.command(image, "banksight", "ingest"))
            yield found


@contextmanager
def _process(command: list[Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as ends:
        output = ends.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command, env=os.environ | BUILDER, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            for each in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
                each.terminate()
            process.terminate() if process.poll() is None else None
            process.wait(60)


@pytest.fixture
def node(image: str, place: Place) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A running node: the container's process as we started it, and the service in it."""
    log = place.folder / "node.log"
    with _process(place.command(image, "banksight", "serve"), log) as process:
        try:
            _until(f"http://127.0.0.1:{place.port}/readyz", process)
        except AssertionError as error:
            raise AssertionError(f"{error}: {log.read_text(encoding='utf-8')[-3000:]}") from error
        yield process, _service(process)


def _service(process: subprocess.Popen[bytes]) -> psutil.Process:
    children = psutil.Process(process.pid).children(recursive=True)
    return next(each for each in children if each.cmdline()[1:4] == ["-m", "bentos", "serve"])


def test_image_has_our_user_the_bill_of_materials_and_no_compiler(image: str) -> None:
    container = _run("buildah", "from", "--pull-never", image)
    configured = _run("buildah", "inspect", "--type", "image", "--format", "{{.OCIv1.Config.User}}", image)
    assert configured == "10001:10001"
    look = "for each in gcc cc make git; do command -v $each && exit 1; done; cat /opt/banksight/share/sbom.cdx.json"
    listed = _run("buildah", "run", "--isolation", "chroot", container, "--", "sh", "-c", look)
    assert "pkg:pypi/torch@2.13.0%2Bcpu" in listed
    assert "pkg:pypi/pytest@" not in listed


def test_image_of_the_processor_target_refuses_to_be_another_one(image: str) -> None:
    container = _run("buildah", "from", "--pull-never", image)
    refused = subprocess.run(
        ["buildah", "run", "--isolation", "chroot", "--env", "BANKSIGHT_TARGET=gn6v", "--env",
         "BANKSIGHT_PROFILE=laptop", "--env", "BANKSIGHT__GENERATION__ENGINE=mistral", container,
         "--", "banksight", "serve"],
        env=os.environ | BUILDER, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert refused.returncode == 3
    assert "this is the target gn6v, but the installed torch is one for processors" in refused.stderr


def test_node_answers_without_rights_and_finishes_its_answer_when_it_is_ended(
    node: tuple[subprocess.Popen[bytes], psutil.Process], place: Place
) -> None:
    process, service = node
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert set(service.uids()) == {10001}
    answers: list[httpx.Response] = []
    url = f"http://127.0.0.1:{place.port}/v1/ask"
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(url, json={"question": QUESTION}, timeout=60, trust_env=False))
    )
    asking.start()
    time.sleep(1)  # the engine says nothing before 3 s
    assert not answers
    service.send_signal(signal.SIGTERM)
    asking.join(60)
    assert answers[0].status_code == 200
    assert "10 business days" in answers[0].json()["text"]
    assert process.wait(60) == 0


def test_image_is_pushed_and_pulled_by_digest(image: str, tmp_path: Path) -> None:
    port = _port()
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{tmp_path}/registry'}}}}\n",
        encoding="utf-8",
    )
    with _process(["docker-registry", "serve", settings], tmp_path / "log") as registry:
        _until(f"http://127.0.0.1:{port}/v2/", registry)
        names = ". configs/deploy/images/names.sh; name_of backend"
        name = _run("bash", "-c", names, REGISTRY=f"127.0.0.1:{port}/bank")
        _run("buildah", "tag", image, name)
        reference = _run(
            ROOT / "configs/deploy/images/push.sh", "backend", REGISTRY=f"127.0.0.1:{port}/bank", REGISTRY_INSECURE="1"
        ).splitlines()[-1]
        assert re.fullmatch(rf"127\.0\.0\.1:{port}/bank/banksight-backend@sha256:[0-9a-f]{{64}}", reference)
        _run("buildah", "rmi", name)
        pulled = _run("buildah", "pull", "--quiet", "--tls-verify=false", reference)
        assert pulled == _run("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", image)
        _run("buildah", "rmi", reference)
