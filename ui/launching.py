"""Starts the UI as a process of its own, with an environment that holds what it needs and nothing else."""

from __future__ import annotations

import ctypes
import errno
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ui.frontend import prepare, writable_folder
from ui.guests import LOOPBACK

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
# Everything else stays out: DATABASE_URL would switch on another data layer, bot tokens would start bots, and the
# secrets of other parts are none of the UI's business.
KEPT = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "VIRTUAL_ENV")
KEPT_PREFIXES = ("LC_", "BANKSIGHT_", "SSL_CERT_", "LD_LIBRARY_PATH", "PYTHON")
KEPT_OF_CHAINLIT = ("CHAINLIT_AUTH_SECRET", "CHAINLIT_URL")


class LaunchError(RuntimeError):
    """The UI cannot be started; the text is one sentence that says what to do."""


def child_environment(
    environment: Mapping[str, str], app_root: Path, api_url: str, keeping: Mapping[str, str]
) -> dict[str, str]:
    """The environment for Chainlit: an allow-list of ours, the folder to run in, and telemetry off.

    `keeping` is what `history_environment` says.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in KEPT or name in KEPT_OF_CHAINLIT or name.startswith(KEPT_PREFIXES)
    }
    project = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, (project, kept.get("PYTHONPATH", ""))))
    return (
        dict(keeping)
        | kept
        | {
            "CHAINLIT_COOKIE_SAMESITE": "strict",
            "BANKSIGHT_API_URL": api_url,
            "CHAINLIT_APP_ROOT": str(app_root),
            "PYTHONPATH": search,
            "PYTHONUNBUFFERED": "1",
            "TRACELOOP_TELEMETRY": "false",
            "OTEL_SDK_DISABLED": "true",
            "DO_NOT_TRACK": "1",
        }
    )


def history_environment(host: str, folder: Path) -> dict[str, str]:
    """Where conversations are kept, what signs sessions, and whom the port reaches; files in `folder` where missing."""
    return {
        "BANKSIGHT_UI_DATABASE_URL": f"sqlite:///{folder / 'conversations.db'}",
        "BANKSIGHT_UI_LISTENS": "loopback" if host in LOOPBACK else "network",
        "CHAINLIT_AUTH_SECRET": _secret(folder / "session.key"),
    }


def _secret(path: Path) -> str:
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def check_port(host: str, port: int) -> None:
    """Raise LaunchError when the UI could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as problem:
        reason = "is taken" if problem.errno == errno.EADDRINUSE else f"cannot be used ({problem.strerror})"
        raise LaunchError(
            f"Port {port} on {host} {reason}: stop the program that uses it, or choose another with --port."
        ) from problem


def start(host: str, port: int, api_url: str, data_folder: Path) -> subprocess.Popen[bytes]:
    """Start Chainlit in a folder of its own and return its process at once. Raises LaunchError, FrontendError."""
    check_port(host, port)
    login = os.environ.get("BANKSIGHT_UI_LOGIN", "none")
    app_root = prepare(writable_folder(data_folder / "ui"), port, login)
    app = Path(__file__).resolve().parent / "app.py"
    command = [sys.executable, "-m", "chainlit", "run", str(app), "--headless", "--host", host, "--port", str(port)]
    # Its own session: Ctrl-C in the terminal reaches us only, and we end the child in order.
    return subprocess.Popen(
        command,
        cwd=app_root,
        env=child_environment(os.environ, app_root, api_url, history_environment(host, app_root.parent)),
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads run yet
    )


def _end_with_parent() -> None:
    """Even when this process is killed with SIGKILL, Chainlit gets SIGTERM."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until_ready(child: subprocess.Popen[bytes], host: str, port: int, seconds: float = READY_SECONDS) -> None:
    """Return when the UI answers. Raises LaunchError when it ends before, or does not answer in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise LaunchError(f"The UI ended while it started (code {child.returncode}): its message stands above.")
        if _answers(host, port):
            return
        time.sleep(0.1)
    raise LaunchError(f"The UI did not answer within {seconds:.0f} s: see its messages above.")


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(reachable(host), port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated, not listened on


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds the UI."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the UI: ask first, insist after ten seconds."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def run(host: str, port: int, api_url: str, data_folder: Path, announce: Callable[[str], None]) -> int:
    """Run the UI until it ends or we are told to stop. Returns the exit code: 0 when we were told to."""
    signal.signal(signal.SIGTERM, _interrupt)
    child = start(host, port, api_url, data_folder)
    try:
        wait_until_ready(child, host, port)
        announce(address(host, port))
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(child)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
