"""`banksight up`: ingest on first start, then API and UI, until Ctrl-C."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
import httpx

from rag.errors import BankSightError, ConfigurationError
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings
from rag.storage.database import open_database
from rag.storage.ownership import owner_of
from rag.storage.registry import Registry

_START_SECONDS = 120
_STOP_SECONDS = 20
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class _Server:
    """A child process that serves HTTP."""

    name: str
    process: subprocess.Popen[bytes]
    ready: str  # the URL that answers 200 once it is ready
    log: Path


@for_roles("admin")
@click.command()
@click.option("--no-ingest", is_flag=True, help="Do not look for new or changed documents.")
def up(*, no_ingest: bool) -> int:
    """Start everything on this machine: ingest the sources, serve the API and the UI, stop on Ctrl-C.

    The first start ingests the sample bank, which takes about a minute; later starts look for changes in the
    background.
    """
    settings = load_settings()
    _require_free(settings)
    first = _is_empty(settings)
    if first and not no_ingest:
        click.echo(f"First start: ingesting {len(settings.sources)} sources into {settings.data_dir}")
        _ingest()
    with _stopped_by_signals() as stop, _servers(settings) as servers:
        for server in servers:
            _await(server, stop)
        if not (first or no_ingest):
            httpx.post(f"{_api(settings)}/v1/jobs", json={"kind": "ingest"}, trust_env=False).raise_for_status()
        click.echo(f"\n  Chat  http://{settings.server.ui_host}:{settings.server.ui_port}")
        click.echo(f"  API   {_api(settings)}   (documentation on that page)\n\nCtrl-C stops both.")
        while not stop:
            for server in servers:
                if server.process.poll() is not None:
                    raise BankSightError(f"the {server.name} ended by itself; its log is {server.log}")
            time.sleep(0.2)
        click.echo("Stopping …")
    return 0


def _ingest() -> None:
    """Ingest in a child, which gives its memory back. Failed documents are named and do not prevent the start."""
    code = subprocess.call([sys.executable, "-m", "rag.cli", "ingest"])
    if code == 130:
        raise click.exceptions.Exit(code)
    if code > 1:
        raise BankSightError("the first ingestion did not succeed; put right what it says above, and start again")


def _api(settings: Settings) -> str:
    return f"http://{settings.server.host}:{settings.server.port}"


def _require_free(settings: Settings) -> None:
    owner = owner_of(settings.data_dir)
    if owner:
        raise ConfigurationError(f"BankSight is running already at {owner}; open it, or stop it first")
    server = settings.server
    for key, host, port in (("port", server.host, server.port), ("ui_port", server.ui_host, server.ui_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {port} on {host} is taken ({error.strerror}); stop what uses it, or set "
                    f"BANKSIGHT__SERVER__{key.upper()} to a free port"
                ) from error


def _is_empty(settings: Settings) -> bool:
    """True when nothing was indexed yet."""
    if not settings.data_dir.is_dir():
        return True
    registry = Registry(open_database(settings.database_url))
    try:
        return not registry.totals().get("indexed")
    finally:
        registry.close()


@contextmanager
def _servers(settings: Settings) -> Iterator[list[_Server]]:
    """API and UI as child processes, ended together at the end, whatever that end is."""
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ui = f"http://{settings.server.ui_host}:{settings.server.ui_port}"
    servers = []
    try:
        servers.append(_start("API", ["serve"], f"{_api(settings)}/readyz", logs / "api.log"))
        where = ["--host", settings.server.ui_host, "--port", str(settings.server.ui_port)]
        chat = ["ui", *where, "--api", _api(settings), "--data", str(settings.data_dir)]
        servers.append(_start("UI", chat, f"{ui}/health", logs / "ui.log"))
        yield servers
    finally:
        for server in servers:
            server.process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for server in servers:
            try:
                server.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()


def _start(name: str, arguments: list[str], ready: str, log: Path) -> _Server:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rag.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then stops its children in order
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  no threads run yet
        )
    return _Server(name, process, ready, log)


def _end_with_parent() -> None:
    """Even when this process is killed with SIGKILL, its children get SIGTERM."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def _await(server: _Server, stop: list[int]) -> None:
    """Return when the server is ready. Raises `BankSightError` with the end of its log."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and not stop:
        if server.process.poll() is not None:
            raise BankSightError(f"the {server.name} did not start: {_last_line(server.log)} (log: {server.log})")
        try:
            if httpx.get(server.ready, timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass  # it is still starting
        time.sleep(0.1)
    if not stop:
        raise BankSightError(f"the {server.name} was not ready after {_START_SECONDS} s; its log is {server.log}")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


@contextmanager
def _stopped_by_signals() -> Iterator[list[int]]:
    """A list that holds the signal once SIGINT or SIGTERM came."""
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
