"""The compose file as it is shipped, started by podman-compose over images of this commit: `make test-compose`.

Redis and PostgreSQL are Debian's, in a stand-in for their images. What Docker Compose does and podman-compose 1.6
over podman 4.3 does not: wait for health, so services start together and try again; look after health, so this asks;
give each replica an anonymous volume of its own, so replicas share one here.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from evaluations.chaos.nginx import API_HOST, UI_HOST, make_certificate
from evaluations.containers import (
    DOCUMENT,
    QUESTION,
    ROOT,
    ContainersUnavailable,
    Podman,
    base_image,
    built,
    missing,
    open_podman,
    stores_image,
)
from evaluations.servers import free_ports

pytestmark = [pytest.mark.image, pytest.mark.slow]

PROJECT = "banksight-test"
FILES = ("compose.yaml", "cpu.yaml")
START_SECONDS = 900


@dataclass(frozen=True)
class Stack:
    """The running stack, and how to reach it through its proxy."""

    podman: Podman
    port: int
    certificate: Path

    def containers(self, service: str) -> list[str]:
        """Names of the running containers of a service."""
        labels = {"com.docker.compose.project": PROJECT, "com.docker.compose.service": service}
        filters = [word for pair in labels.items() for word in ("--filter", f"label={'='.join(pair)}")]
        return sorted(self.podman("ps", *filters, "--format", "{{.Names}}").split())

    def execute(self, service: str, *command: str) -> str:
        """What a command prints in the first container of a service."""
        return self.podman("exec", self.containers(service)[0], *command)

    def request(self, host: str, method: str, path: str, **more: Any) -> httpx.Response:
        """Through the proxy, under one of its two names."""
        headers = {"Host": host} | more.pop("headers", {})
        context = ssl.create_default_context(cafile=self.certificate)
        with httpx.Client(verify=context, trust_env=False, timeout=60) as client:
            return client.request(
                method, f"https://127.0.0.1:{self.port}{path}", headers=headers,
                extensions={"sni_hostname": host}, **more,
            )  # fmt: skip

    def ask(self, key: str) -> httpx.Response:
        """The question, answered anew."""
        asked = {"question": QUESTION, "fresh": True}
        return self.request(API_HOST, "POST", "/v1/ask", json=asked, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, from when its containers were created on."""
    if lacking := [*missing(), *([] if shutil.which("podman-compose") else ["podman-compose"])]:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("stack")
    podman, base = open_podman(folder), base_image(folder)
    images, stores = built(base), stores_image(base)
    port, plain_port = free_ports(2)
    certificate = _prepare(folder, images, stores, {"HTTPS": port, "HTTP": plain_port})
    stack = Stack(podman, port, certificate)
    try:
        _compose(podman, folder, "up", "--detach")
        yield stack
    finally:
        _compose(podman, folder, "down", "--volumes", "--timeout", "40")


def _prepare(folder: Path, images: dict[str, str], stores: str, ports: dict[str, int]) -> Path:
    """What an operator does before the first start. Returns the certificate."""
    for name in (*FILES, "secrets.sh"):
        shutil.copy(ROOT / "configs/deploy/compose" / name, folder)
    subprocess.run([folder / "secrets.sh"], check=True, capture_output=True)
    certificate, key = make_certificate(folder)
    key.chmod(0o644)  # in a folder that only root enters, as the other secrets
    shutil.move(key, folder / "secrets" / "tls_certificate_key.pem")
    for name in ("tls_certificate.pem", "tls_authorities.pem"):
        shutil.copy(certificate, folder / "secrets" / name)
    documents = folder / "documents"
    documents.mkdir()
    documents.chmod(0o755)
    (documents / "transfers.md").write_text(DOCUMENT, encoding="utf-8")
    values = {f"{name.upper()}_IMAGE": f"localhost/{image}" for name, image in images.items()}
    values |= {"WORKER_IMAGE": values["BACKEND_IMAGE"], "REDIS_IMAGE": stores, "POSTGRES_IMAGE": stores}
    values |= {f"PUBLISH_{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
    values |= {"API_HOST": API_HOST, "UI_HOST": UI_HOST, "DOCUMENTS_DIR": str(documents)}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    return certificate


def _compose(podman: Podman, folder: Path, *words: str) -> str:
    files = [word for name in FILES for word in ("--file", name)]
    done = subprocess.run(
        ["podman-compose", "--in-pod", "false", "--project-name", PROJECT, *files, *words],
        cwd=folder, env=os.environ | podman.environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """A key of a person's, from when the worker has made the schema on."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            made = stack.execute("worker", "banksight", "keys", "create", "tester", "--role", "user", "--json")
            return str(json.loads(made)["key"])
        except (ContainersUnavailable, IndexError):
            assert time.monotonic() < end, _logs(stack)
            time.sleep(2)


@pytest.fixture(scope="module")
def ready(stack: Stack, key: str) -> Stack:
    """The stack, from when every node is ready and the corpus is ingested on."""
    end = time.monotonic() + START_SECONDS
    while not (_healthy(stack) and "10 business days" in stack.ask(key).text):
        assert time.monotonic() < end, _logs(stack)
        time.sleep(2)
    return stack


SERVICES = {"proxy": 1, "ui": 2, "backend": 3, "worker": 1, "chroma": 1, "redis": 1, "postgres": 1}


def _healthy(stack: Stack) -> bool:
    for service, replicas in SERVICES.items():
        names = stack.containers(service)
        if len(names) != replicas:
            return False
        for name in names:
            try:
                stack.podman("healthcheck", "run", name)
            except ContainersUnavailable:
                return False
    return True


def _logs(stack: Stack) -> str:
    """The end of what each container said."""
    names = stack.podman(
        "ps", "--all", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", "{{.Names}}"
    )
    said = []
    for name in names.split():
        done = subprocess.run(
            ["podman", "logs", "--tail", "12", name], env=os.environ | stack.podman.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        said.append(f"{name}: {done.stdout}")
    return "\n".join(said)


def test_question_is_answered_from_the_documents_folder_and_only_to_who_has_a_key(ready: Stack, key: str) -> None:
    answer = ready.ask(key)
    assert answer.status_code == 200
    assert "10 business days" in answer.json()["text"]
    assert answer.json()["citations"]
    assert ready.request(API_HOST, "POST", "/v1/ask", json={"question": QUESTION}).status_code == 401


def test_chat_is_served_under_its_own_name_and_metrics_under_none(ready: Stack) -> None:
    assert "BankSight" in ready.request(UI_HOST, "GET", "/").text
    for host in (API_HOST, UI_HOST):
        assert ready.request(host, "GET", "/metrics").status_code == 404


@pytest.mark.parametrize("service", ["backend", "worker", "ui", "chroma", "redis", "postgres"])
def test_inner_service_has_no_way_out(ready: Stack, service: str) -> None:
    routes = ready.execute(service, "cat", "/proc/net/route").splitlines()[1:]
    assert routes
    assert [route for route in routes if route.split()[1] == "00000000"] == []


def test_every_question_is_answered_while_one_of_three_nodes_is_lost(ready: Stack, key: str) -> None:
    lost, *rest = ready.containers("backend")
    ready.podman("kill", lost)
    assert [ready.ask(key).status_code for _ in range(12)] == [200] * 12
    assert ready.containers("backend") == rest
