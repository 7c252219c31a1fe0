"""Servers as child processes: started, watched until they answer, measured from outside, ended in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

START_SECONDS = 180
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process. `rss` counts shared pages in every process, `pss` shares them out; bytes."""

    name: str
    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and the port of its `/v1/search`."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        times = [each.cpu_times() for each in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], answers: Callable[[], bool]
) -> Iterator[psutil.Process]:
    """A server as a child process, from its first answer on; ended in order, with all its children."""
    child = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers():
            if child.poll() is not None:
                raise RuntimeError(f"{command[-1]} ended with {child.returncode} before it answered")
            if time.monotonic() > until:
                raise RuntimeError(f"{command[-1]} did not answer within {START_SECONDS} s")
            time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def memory(root: psutil.Process) -> list[Memory]:
    """Memory of a process and of all below it, largest first."""
    found = []
    for process in [root, *root.children(recursive=True)]:
        usage = process.memory_full_info()
        found.append(Memory(_name(process), usage.rss, usage.pss))
    return sorted(found, key=lambda each: -each.rss)


def _name(process: psutil.Process) -> str:
    words = [word for word in process.cmdline()[1:] if not word.startswith(("{", "/proc"))]
    return " ".join(Path(word).name if "/" in word else word for word in words)[:60] or process.name()


def posts(port: int, path: str, body: Mapping[str, object]) -> Callable[[], bool]:
    """Whether a POST is answered with 200 by now."""

    def answers() -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return answers


def free_ports(number: int) -> list[int]:
    """TCP ports on 127.0.0.1 that nobody listened on a moment ago."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
