"""Child processes that a fault can be done to: killed, frozen, thawed, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

STOP_SECONDS = 45


@dataclass
class Child:
    """A command that runs at most once at a time, and whether it answers. Its output goes to a file."""

    name: str
    command: Sequence[str]
    answers: Callable[[], bool]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 400
    process: subprocess.Popen[bytes] | None = None
    log_from: int = 0  # where in its log the latest start begins, in bytes

    def begin(self) -> None:
        """Start it, and do not wait."""
        with self.log.open("ab") as output:
            self.log_from = output.tell()
            self.process = subprocess.Popen(
                list(self.command), env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Return when it answers. Raises `RuntimeError` with the end of its log when it does not come to that."""
        until = time.monotonic() + self.start_seconds
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not start: {self.log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.05)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.begin()
        self.wait()

    def tree(self) -> list[psutil.Process]:
        """Its processes that are alive, the first one first."""
        if self.process is None or self.process.poll() is not None:
            return []
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to its first process, as an operator does."""
        if self.process is not None:
            self.process.send_signal(number)

    def _each(self, number: signal.Signals) -> None:
        for process in self.tree():
            process.send_signal(number)

    def kill(self) -> None:
        """End all its processes at once, as a power cut does."""
        processes = self.tree()
        self._each(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)
        if self.process is not None:
            self.process.wait(10)

    def freeze(self) -> None:
        """Stop all its processes; sockets stay open and say nothing."""
        self._each(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._each(signal.SIGCONT)

    def stop(self) -> float:
        """End it with SIGTERM; the seconds that it took. Killed when it does not end."""
        began = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return time.monotonic() - began

    def memory_mib(self) -> float:
        """Memory of all its processes, shared pages shared out."""
        return sum(process.memory_full_info().pss for process in self.tree()) / 2**20
