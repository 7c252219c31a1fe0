"""One child process that parses: started when needed, killed when a file takes too long, replaced when it died."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import connectors
from connectors.errors import SourceUnavailable
from connectors.parsing.document import ParsingLimits
from connectors.parsing.framing import read_json, write_frame, write_json

_START_SECONDS = 60.0
_PACKAGE_ROOT = str(Path(connectors.__file__).resolve().parent.parent)


class ChildFailed(Exception):
    """The process ended without an answer; `reason` is one of `SourceUnreadable`'s."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ParserProcess:
    """A parsing process and its two pipes. One thread at a time may call `exchange`; any may call `kill`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def exchange(self, name: str, content: bytes, limits: ParsingLimits, longest_reply: int) -> dict[str, Any]:
        """The child's answer for one file.

        Raises `ChildFailed` where it was too slow, died or answered nonsense, and `SourceUnavailable` where it does
        not start. After either, the next call has a fresh process.
        """
        process = self._running()
        request = {"name": name, "limits": asdict(limits)}
        with _deadline(process, limits.timeout_seconds) as expired:
            reply = _talk(process, request, content, longest_reply)
        if expired.is_set() or reply is None:
            self.kill()
        if reply is None:
            raise _explain(process.returncode, limits, expired=expired.is_set())
        return reply

    def kill(self) -> None:
        """End the process, if there is one, and wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        _end(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.kill()
        if self._process is None:
            self._process = _start()
        return self._process


def _start() -> subprocess.Popen[bytes]:
    """A process that said it is ready. It inherits no environment, no open files, and no signals of our terminal."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "connectors.parsing.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    with _deadline(process, _START_SECONDS):
        ready = _receive(process, 1024)
    if ready is None:
        _end(process)
        raise SourceUnavailable(
            "The parsing process does not start; run `python -m connectors.parsing.worker` to see why."
        )
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was still to be sent has nobody to go to
                stream.close()


def _environment() -> dict[str, str]:
    """Only what Python needs to find our package: no secrets for a hostile file to read."""
    paths = [_PACKAGE_ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextlib.contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill the process after so many seconds, unless the block ends before. Yields the event that tells so."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()


def _talk(
    process: subprocess.Popen[bytes], request: dict[str, Any], content: bytes, longest: int
) -> dict[str, Any] | None:
    """Send a request and its content and read the reply; None where the process ended or wrote no reply."""
    if process.stdin is None:
        return None
    try:
        write_json(process.stdin, request)
        write_frame(process.stdin, content)
        process.stdin.flush()
    except OSError:
        return None
    return _receive(process, longest)


def _receive(process: subprocess.Popen[bytes], longest: int) -> dict[str, Any] | None:
    if process.stdout is None:
        return None
    try:
        return read_json(process.stdout, longest)
    except (OSError, ValueError):
        return None


def _explain(returncode: int | None, limits: ParsingLimits, *, expired: bool) -> ChildFailed:
    if expired or returncode == -signal.SIGXCPU:
        message = f"Reading the file took longer than {limits.timeout_seconds:g} seconds; split it or save it again."
        return ChildFailed("too_slow", message)
    message = "The file made its parser crash or run out of memory; save it again with another program."
    return ChildFailed("malformed", message)
