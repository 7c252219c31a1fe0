"""A real small workspace behind the API: in this process for most tests, and once as a running server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bentos.application import create_app
from bentos.opening import Opening, open_workspace_and_jobs
from rag.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
REGULATION = """# Electronic transfers

## § 11 Procedures for resolving errors

A financial institution shall determine whether an error occurred within 10 business days of receiving a notice of
error. It shall report the results to the consumer within three business days after completing its investigation.

## § 6 Liability of the consumer

A consumer who gives notice within two business days after learning of the loss is liable for at most $50.
"""
FILES = {
    "electronic-transfers.md": REGULATION,
    "fees.csv": "product,monthly fee,overdraft fee\nBasic account,$4.50,$12.00\nStudent account,$0.00,$6.00\n",
    "opening-hours.txt": "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.\n",
    "page.html": "<html><head><title>Cards</title></head><body><h1>Lost cards</h1><p>Report a lost card at once by "
    "telephone. The bank blocks the card within five minutes.</p><script>alert(1)</script></body></html>",
    "board.txt": "Minutes of the board: the merger with the Harbour Bank closes in March.\n",
    "board.txt.meta.yaml": "access: [board]\n",
}


@pytest.fixture(scope="session")
def make_service_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Settings with an empty data folder and a source of five small documents, one of which only the board may read."""

    def make(**overrides: Any) -> Settings:
        folder = tmp_path_factory.mktemp("service")
        source = folder / "source"
        source.mkdir()
        for name, text in FILES.items():
            (source / name).write_text(text, encoding="utf-8")
        ours = {
            "data_dir": str(folder / "data"),
            "sources": [{"name": "rules", "kind": "filesystem", "collection": "regulations", "root": str(source)}],
            "server": {"heartbeat_seconds": 1, "max_upload_bytes": 200_000},
        }
        return load_settings("test", environment={}, overrides=ours | overrides)

    return make


@pytest.fixture(scope="session")
def service_settings(make_service_settings: Callable[..., Settings]) -> Settings:
    """Those of the workspace that is open in this process."""
    return make_service_settings()


@pytest.fixture(scope="session")
def opening(service_settings: Settings) -> Iterator[Opening]:
    """The workspace, open and with its source ingested."""
    opening = Opening(service_settings, lambda: open_workspace_and_jobs(service_settings)).start().wait()
    report = opening.workspace().ingest()
    assert not report.failed
    yield opening
    opening.close()


@pytest.fixture
def app(opening: Opening) -> FastAPI:
    """The application over that workspace."""
    return create_app(opening)


@pytest.fixture
async def client(app: FastAPI) -> Any:
    """A caller on the same machine."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


class Server:
    """A service in processes of its own, with its address and what it wrote to its log."""

    def __init__(
        self, process: subprocess.Popen[bytes], url: str, log: Path, settings: Settings, environment: dict[str, str]
    ) -> None:
        self.process, self.url, self.log, self.settings, self.environment = process, url, log, settings, environment

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Return when questions can be answered."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"the server was not ready: {self.log.read_text()[-2000:]}")

    def ingest(self) -> None:
        """Ingest every source with a job."""
        job = httpx.post(f"{self.url}/v1/jobs", json={"kind": "ingest"}, trust_env=False).json()
        while job["finished_at"] is None:
            time.sleep(0.05)
            job = httpx.get(f"{self.url}/v1/jobs/{job['id']}", trust_env=False).json()
        assert job["state"] == "succeeded", job

    def stop(self) -> int:
        """End it with SIGTERM, as operators do; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """`start_server(settings)` runs `bentoml serve bentos.assistant:Assistant` from the checkout; ended at the end."""
    servers: list[Server] = []

    def start(settings: Settings, *command: str, cwd: Path = ROOT, **environment: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = tmp_path_factory.mktemp("server")
        log = folder / "log"
        command = command or ("-m", "bentoml", "serve", "bentos.assistant:Assistant", "--port", str(port))
        environment = _environment(settings, folder) | environment
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *(each.replace("{port}", str(port)) for each in command)],
                cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env=environment,
            )  # fmt: skip
        servers.append(Server(process, f"http://127.0.0.1:{port}", log, settings, environment))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server], make_service_settings: Callable[..., Settings]) -> Server:
    """A running service whose source was ingested over HTTP."""
    server = start_server(make_service_settings())
    server.wait_until_ready()
    server.ingest()
    return server


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What a child process needs to have these settings, and nothing of the machine that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH", "LANG")}
    sources = [
        {"name": each.name, "kind": each.kind, "collection": each.collection, "root": str(each.root)}
        for each in settings.sources
    ]
    return kept | {
        "BANKSIGHT_PROFILE": "test",
        "BANKSIGHT_DATA_DIR": str(settings.data_dir),
        "BANKSIGHT_ENCODER_DIR": settings.embedding.graph_dir,
        "BANKSIGHT__SOURCES": repr(sources),
        "BANKSIGHT__SERVER__MAX_UPLOAD_BYTES": str(settings.server.max_upload_bytes),
        "BANKSIGHT__SERVER__HEARTBEAT_SECONDS": str(settings.server.heartbeat_seconds),
        "BENTOML_HOME": str(folder / "bentoml"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "prometheus"),
        "NO_PROXY": "*",
    }
