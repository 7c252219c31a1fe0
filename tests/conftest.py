"""What every test gets: a clean environment, no network, settings of its own, real servers where it asks for them."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from rag.settings import Settings, load_settings
from rag.testing_models import make_tiny_mistral

# In CI nothing may be missing: a test that would skip fails instead. Read once, before tests clean the environment.
SERVICES_REQUIRED = bool(os.environ.get("BANKSIGHT_REQUIRE_SERVICES"))
MAY_SKIP = ("gpu",)  # marks of tests that need what no CI machine has

OURS: tuple[str, ...] = (
    "BANKSIGHT",
    "DATABASE_URL",
    "REDIS_URL",
    "VECTOR_DB_HOST",
    "LLM_MODEL",
    "DEVICE",
    "MAX_WORKERS",
    "CACHE_DIR",
)
OURS += ("LOG_LEVEL", "ENABLE_METRICS", "PROMETHEUS_PORT", "CHAINLIT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skip into a failure where every service is required."""
    report = yield
    expected = hasattr(report, "wasxfail") or any(item.get_closest_marker(mark) for mark in MAY_SKIP)
    if SERVICES_REQUIRED and report.skipped and not expected:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although BANKSIGHT_REQUIRE_SERVICES is set: {reason}"
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person or machine that runs the tests reaches them."""
    for name in list(os.environ):
        if name.upper().startswith(OURS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def blocked_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test that connects beyond this machine, or, in a unit test, at all.

    The attempt itself fails too, with the address. `network_allowed` gives a unit test the loopback addresses.
    """
    unit = "unit" in request.path.relative_to(request.config.rootpath).parts
    loopback_allowed = not unit or request.node.get_closest_marker("network_allowed") is not None
    attempts: list[str] = []

    def check(host: object) -> None:
        loopback = str(host) in ("localhost", "::1", "") or str(host).startswith("127.")
        if not (loopback and loopback_allowed):
            attempts.append(str(host))
            raise OSError(f"tests may not connect to {host}")

    def guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def connect_checked(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return connect(self, address)

        return connect_checked

    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "localhost", "0.0.0.0", "::") and not _is_address(name):  # noqa: S104 - names of "any"
            check(name)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    if attempts and request.node.get_closest_marker("network_attempts_expected") is None:
        pytest.fail(f"the test tried to connect to {', '.join(sorted(set(attempts)))}")


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except OSError:
            continue
        return True
    return False


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """`make_settings(retrieval={"top_k": 3})`: profile `test` in a data folder of this test, with these overrides."""

    def make(**overrides: Any) -> Settings:
        return load_settings("test", environment={}, overrides={"data_dir": str(tmp_path / "data"), **overrides})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Profile `test` in a data folder of this test."""
    return make_settings()


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


CORPUS = {
    "electronic-transfers.md": """# Electronic transfers

## § 11 Procedures for resolving errors

A financial institution shall determine whether an error occurred within 10 business days of receiving a notice of
error. It shall report the results to the consumer within three business days after completing its investigation.

## § 6 Liability of the consumer

A consumer who gives notice within two business days after learning of the loss is liable for at most $50.
""",
    "fees.csv": "product,monthly fee,overdraft fee\nBasic account,$4.50,$12.00\nStudent account,$0.00,$6.00\n",
    "opening-hours.txt": "Branches open at 9:00 and close at 16:30 on business days. They stay closed on holidays.\n",
}


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    """A folder with three small documents: regulations with headings, a table of fees, a note."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, text in CORPUS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Mistral of 64 dimensions and random weights, and with a real tokeniser."""
    return make_tiny_mistral(tmp_path_factory.mktemp("models") / "tiny-mistral")


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """A PostgreSQL server of this test run: the folder with its Unix socket. Superuser `banksight`, no password."""
    bindir = _postgres_bindir()
    if bindir is None:
        pytest.skip("PostgreSQL's initdb and postgres are not installed; install the package postgresql")
    owner = "postgres" if os.geteuid() == 0 else getpass.getuser()  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="banksight-pg-"))  # short: a socket's path has at most 107 characters
    shutil.chown(folder, owner)

    def run(program: str, *arguments: str) -> None:
        command = [str(bindir / program), "--pgdata", f"{folder}/data", *arguments]
        subprocess.run(command, user=owner, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)

    run("initdb", "--username", "banksight", "--auth", "trust", "--no-sync")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    try:
        run("pg_ctl", "--wait", "--timeout", "60", "--log", f"{folder}/log", "--options", options, "start")
        yield folder
    finally:
        run("pg_ctl", "--wait", "--timeout", "60", "--mode", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_socket: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database that only this test uses."""
    name = "test_" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    with psycopg.connect(host=str(postgres_socket), user="banksight", dbname="postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        yield f"postgresql+psycopg://banksight@/{name}?host={postgres_socket}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis server that only this test uses, to kill, stop and fill."""

    url: str
    process: subprocess.Popen[bytes]

    def client(self) -> redis.Redis:
        """A client with patience, to look at the server from the side."""
        return redis.Redis.from_url(self.url)


@pytest.fixture
def start_redis(free_port: int) -> Iterator[Callable[..., RedisServer]]:
    """`start_redis("--requirepass", "x")`: a running server on this test's `free_port`, ended with the test."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; install the package redis-server")
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> RedisServer:
        command = [program, "--port", str(free_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        started.append(process)
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", free_port)) == 0:
                    return RedisServer(f"redis://127.0.0.1:{free_port}/0", process)
            time.sleep(0.01)
        raise TimeoutError("redis-server did not start")

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """A running Redis server of this test."""
    return start_redis()


def _postgres_bindir() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("postgres")
    candidates = installed + ([Path(found).parent] if found else [])
    return next((each for each in candidates if (each / "postgres").exists() and (each / "initdb").exists()), None)
