"""The images, built and run without a registry: `make test-image`. See `evaluations/containers.py`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from evaluations.chaos.nginx import answers
from evaluations.chaos.processes import Child
from evaluations.containers import (
    DOCUMENT,
    IMAGES,
    QUESTION,
    Container,
    Podman,
    addresses_of,
    base_image,
    built,
    missing,
    open_podman,
    run,
    size_bytes,
)
from evaluations.servers import free_ports

pytestmark = [pytest.mark.image, pytest.mark.slow]

DRAIN_SECONDS = 30


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """podman, as this machine lets it run."""
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    return open_podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="module")
def images(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each image to its name."""
    names = built(base_image(tmp_path_factory.mktemp("base")))
    for name in names.values():
        print(f"\n{name}  {size_bytes(name) / 1e6:,.0f} MB")  # noqa: T201
    return names


@pytest.mark.parametrize(
    ("image", "package"),
    [("backend", "torch@2.13.0%2Bcpu"), ("ui", "chainlit@"), ("chroma", "chromadb@"), ("proxy", "click@")],
)
def test_image_has_our_user_a_health_check_its_packages_listed_and_no_compiler(
    image: str, package: str, images: dict[str, str], podman: Podman
) -> None:
    configured = json.loads(podman("image", "inspect", images[image]))[0]
    assert configured["User"] == "10001:10001"
    assert configured["Healthcheck"]["Test"][0] == "CMD"
    look = 'for each in gcc cc make git; do command -v $each && exit 1; done; cat "$1"'
    label = configured["Labels"]["banksight.sbom"]
    listed = podman("run", "--rm", "--network=none", "--read-only", images[image], "sh", "-c", look, "sh", label)
    assert f"pkg:pypi/{package}" in listed
    assert "pkg:pypi/pytest@" not in listed


def test_image_of_the_processor_target_refuses_to_be_another_one(images: dict[str, str], podman: Podman) -> None:
    variables = {"BANKSIGHT_TARGET": "gn6v", "BANKSIGHT_PROFILE": "laptop", "BANKSIGHT__GENERATION__ENGINE": "mistral"}
    refused = subprocess.run(
        ["podman", "run", "--rm", "--network=none", *_variables(variables), images["backend"], "banksight", "serve"],
        env=os.environ | podman.environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert refused.returncode == 3
    assert "this is the target gn6v, but the installed torch is one for processors" in refused.stderr


def _variables(values: dict[str, str]) -> list[str]:
    return [word for pair in values.items() for word in ("--env", "=".join(pair))]


@dataclass(frozen=True)
class Place:
    """How a node is started beside the stores and the worker, and where it then is."""

    options: list[str]
    url: str


@pytest.fixture(scope="module")
def place(images: dict[str, str], podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A Chroma server and a worker, in a container each, and a corpus that was ingested."""
    folder = tmp_path_factory.mktemp("deployed")
    for name in ("shared", "documents"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)  # containers are not root
    (folder / "documents" / "transfers.md").write_text(DOCUMENT, encoding="utf-8")
    chroma_port, port = free_ports(2)
    settings = {
        "BANKSIGHT_PROFILE": "laptop",
        "BANKSIGHT__INGESTION__SERVING": "worker",
        "FILES_DIR": "/shared/files",
        "BANKSIGHT__SOURCES": "[{name: rules, kind: filesystem, collection: rules, root: /documents}]",
        "BANKSIGHT__STORAGE__CHROMA": "server",
        "BANKSIGHT__STORAGE__CHROMA_PORT": str(chroma_port),
        "BANKSIGHT__SERVER__PORT": str(port),
        "BANKSIGHT__GENERATION__ENGINE": "simulated",
        "BANKSIGHT__GENERATION__SIMULATED__FIRST_TOKEN_SECONDS": "3",
        "VECTOR_DB_HOST": "127.0.0.1",
        "DATABASE_URL": "sqlite:////shared/registry.sqlite3",
    }
    mounts = ["--volume", f"{folder}/shared:/shared", "--volume", f"{folder}/documents:/documents:ro"]
    options = [*_variables(settings), *mounts]
    listens = ["--path", "/var/lib/chroma", "--host", "127.0.0.1", "--port", str(chroma_port)]
    with podman.running(images["chroma"], [], "chroma", "run", *listens) as chroma:
        _until(lambda: answers(f"http://127.0.0.1:{chroma_port}/api/v2/heartbeat", 200), chroma)
        with podman.running(images["backend"], options, "worker.sh") as worker:
            _until(lambda: "worker: ready" in worker.log(), worker)
            worker.execute("banksight", "ingest")
            yield Place(options, f"http://127.0.0.1:{port}")


@pytest.fixture
def node(place: Place, images: dict[str, str], podman: Podman) -> Iterator[Container]:
    """A node that is ready."""
    with podman.running(images["backend"], place.options) as container:
        _until(lambda: answers(f"{place.url}/readyz", 200), container)
        yield container


def _until(true: Callable[[], bool], container: Container, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert container.process(), container.log()[-3000:]
        assert time.monotonic() < end, container.log()[-3000:]
        time.sleep(0.3)


def test_node_can_change_nothing_and_has_no_rights(node: Container) -> None:
    process = Path(f"/proc/{node.process()}")
    status = (process / "status").read_text(encoding="utf-8")
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert node.execute("sh", "-c", "touch /opt/banksight/app/x /usr/x 2>&1 || true").count("Read-only") == 2


def test_node_finishes_the_stream_that_is_open_when_it_is_ended(node: Container, place: Place) -> None:
    asked = {"question": QUESTION, "stream": True}
    events = []
    with httpx.stream("POST", f"{place.url}/v1/ask", json=asked, timeout=60, trust_env=False) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                events.append(line.removeprefix("event: "))
                if len(events) == 1:  # the engine says nothing before 3 s
                    node.terminate()
            elif line.startswith("data: ") and events[-1] == "answer":
                assert "10 business days" in line
    assert events[0] != "answer"
    assert events[-1] == "done"
    assert node.exit_code(DRAIN_SECONDS) == 0
    assert not answers(f"{place.url}/livez")


def test_images_are_pushed_by_make_and_pulled_by_digest(images: dict[str, str], tmp_path: Path) -> None:
    assert not run("git", "status", "--porcelain"), "commit first: a tag names a commit, and nothing else is pushed"
    (port,) = free_ports(1)
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{tmp_path}/registry'}}}}\n",
        encoding="utf-8",
    )
    ready = lambda: answers(f"http://127.0.0.1:{port}/v2/", 200)  # noqa: E731
    registry = Child("registry", ["docker-registry", "serve", str(settings)], ready, tmp_path / "log")
    registry.start()
    try:
        place = f"127.0.0.1:{port}/bank"
        for name in images.values():
            run("buildah", "tag", name, f"{place}/{name}")
        pushed = addresses_of(run("make", "push", REGISTRY=place, REGISTRY_INSECURE="1"))
        assert [each.partition("@")[0] for each in pushed] == [f"{place}/banksight-{image}" for image in IMAGES]
        for reference, name in zip(pushed, images.values(), strict=True):
            run("buildah", "rmi", f"{place}/{name}")
            pulled = run("buildah", "pull", "--quiet", "--tls-verify=false", reference)
            assert pulled == run("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
            run("buildah", "rmi", reference)
    finally:
        registry.stop()
