"""One index, a service with two workers that read it, and `banksight worker` that writes: real processes throughout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from evaluations.chaos.processes import Child
from evaluations.chaos.stack import chroma_server
from evaluations.servers import free_ports
from rag.ingestion.job_queue import JobQueue
from rag.settings import Settings
from rag.storage.database import open_database
from rag.storage.registry import Registry

WAIT_SECONDS = 60.0
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Node:
    """The service and the worker beside it."""

    url: str
    worker: Child
    environment: dict[str, str]
    folder: Path
    data_dir: Path
    source: Path


def worker_of(folder: Path, environment: dict[str, str], name: str) -> Child:
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "rag.cli", "worker"]
    return Child(name, command, lambda: "worker: ready" in log.read_text(), log, environment)


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory,
    start_server: Callable[..., Any],
    make_service_settings: Callable[..., Settings],
) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    (port,) = free_ports(1)
    with ExitStack() as ends:
        chroma = chroma_server(folder, port)
        ends.callback(chroma.stop)
        chroma.start()
        settings = make_service_settings()
        server = start_server(
            settings,
            DATABASE_URL=f"sqlite:///{settings.data_dir}/registry.sqlite3",
            FILES_DIR=str(settings.data_dir),
            BANKSIGHT__SERVER__WORKERS="2",
            BANKSIGHT__INGESTION__SERVING="worker",
            BANKSIGHT__STORAGE__CHROMA="server",
            BANKSIGHT__STORAGE__CHROMA_HOST="127.0.0.1",
            BANKSIGHT__STORAGE__CHROMA_PORT=str(port),
        )
        environment = {name: value for name, value in server.environment.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
        worker = worker_of(folder, environment, "worker")
        ends.callback(worker.stop)
        ends.callback(server.stop)
        worker.start()  # until then the service is not ready, because there is no schema
        eventually(lambda: all(ready(server.url) for _ in range(AT_ONCE)))
        server.ingest()
        yield Node(server.url, worker, environment, folder, settings.data_dir, settings.sources[0].root)


def ready(url: str) -> bool:
    """Whether the worker that this connection happens to come to is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def at_once(url: str, query: str) -> list[list[str]]:
    """The titles that so many callers find, on connections of their own, so that both workers answer."""
    found: list[list[str]] = []

    def ask() -> None:
        answer = httpx.post(f"{url}/v1/search", json={"query": query}, timeout=60, trust_env=False)
        found.append([each["title"] for each in answer.raise_for_status().json()["passages"]])

    callers = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == AT_ONCE
    return found


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def upload(node: Node, name: str, text: str) -> dict[str, Any]:
    answer = httpx.post(f"{node.url}/v1/documents", files={"file": (name, text.encode())}, timeout=30, trust_env=False)
    job: dict[str, Any] = answer.raise_for_status().json()
    return job


def state(node: Node, job: dict[str, Any]) -> str:
    return str(httpx.get(f"{node.url}/v1/jobs/{job['id']}", timeout=30, trust_env=False).json()["state"])


def test_both_workers_answer_and_either_one_s_metrics_count_both(node: Node) -> None:
    counters = Path(node.environment["BENTOML_HOME"]) / "prometheus_multiproc_dir"
    asked = 0

    def both() -> bool:
        nonlocal asked
        assert all(titles[0] == "Electronic transfers" for titles in at_once(node.url, "notice of error"))
        asked += AT_ONCE
        return sum(b"http_requests" in path.read_bytes() for path in counters.glob("counter_*.db")) > 1

    eventually(both)
    for _ in range(4):
        text = httpx.get(f"{node.url}/metrics", timeout=30, trust_env=False).text
        counted = re.search(r'^http_requests_total\{method="POST",route="/v1/search",status="200"\} (\S+)$', text, re.M)
        assert counted is not None
        assert float(counted[1]) == asked


def test_what_one_worker_is_given_both_find_and_what_one_deletes_is_gone_from_both(node: Node) -> None:
    job = upload(node, "zebra.txt", "The zebra clause lets a customer defer one instalment.")
    eventually(lambda: state(node, job) == "succeeded")
    eventually(lambda: all("zebra" in titles for titles in at_once(node.url, "zebra clause")))
    gone = httpx.delete(f"{node.url}/v1/documents/{job['document_id']}", timeout=30, trust_env=False)
    assert gone.json()["outcome"] == "deleted"
    eventually(lambda: not any("zebra" in titles for titles in at_once(node.url, "zebra clause")))


def test_command_line_lets_the_worker_ingest(node: Node) -> None:
    place = node.source / "okra.txt"
    place.write_text("The okra clause was written while everything ran.\n", encoding="utf-8")
    run = [sys.executable, "-m", "rag.cli", "ingest", "--json"]
    done = subprocess.run(run, env=node.environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [each["outcome"] for each in json.loads(done.stdout)["outcomes"]] == ["added"]
    eventually(lambda: all("okra" in titles for titles in at_once(node.url, "okra clause")))


def test_a_reader_shows_when_the_worker_last_ingested(node: Node) -> None:
    text = httpx.get(f"{node.url}/metrics", timeout=30, trust_env=False).text
    assert "corpus_ingested_timestamp_seconds 1." in text


def test_job_that_dies_with_its_worker_is_done_by_the_one_that_stands_by(node: Node) -> None:
    standby = worker_of(node.folder, node.environment | {"BANKSIGHT_DATA_DIR": str(node.folder / "other")}, "standby")
    try:
        standby.begin()
        eventually(lambda: "standing by" in standby.log.read_text())
        job = upload(node, "okapi.txt", "The okapi clause is read by whoever writes. " * 2000)
        eventually(lambda: state(node, job) in ("running", "succeeded"))
        node.worker.kill()
        standby.wait()
        eventually(lambda: state(node, job) == "succeeded")
        eventually(lambda: all("okapi" in titles for titles in at_once(node.url, "okapi clause")))
    finally:
        standby.stop()


def test_readers_answer_while_nobody_writes_and_deletions_wait_for_a_worker(node: Node) -> None:
    node.worker.kill()
    registry = Registry(open_database(f"sqlite:///{node.data_dir / 'registry.sqlite3'}", "require"))
    document = next(each for each in registry.documents() if each.title == "fees")
    refused = httpx.delete(f"{node.url}/v1/documents/{document.id}", timeout=30, trust_env=False)
    assert refused.status_code == 503
    assert JobQueue(registry.jobs).latest(1)[0].state == "cancelled"
    registry.close()
    assert all(titles for titles in at_once(node.url, "overdraft fee"))


def test_command_line_reads_beside_the_running_service(node: Node) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "rag.cli", "documents", "list"],
        env=node.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stderr
    assert "Electronic transfers" in listed.stdout
