"""Who our processes are connected to, looked at four times a second for as long as they run."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Sequence

import psutil

from evaluations.chaos.processes import Child


class Tripwire:
    """Collects every address beyond this machine that one of these processes had a connection to."""

    def __init__(self, children: Callable[[], Sequence[Child]]) -> None:
        self.strangers: set[str] = set()
        self.looks = 0
        self._children = children
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tripwire", daemon=True)

    def __enter__(self) -> Tripwire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            self.looks += 1
            for child in self._children():
                self._look(child)

    def _look(self, child: Child) -> None:
        try:
            peers = {each.raddr.ip for one in child.tree() for each in one.net_connections("inet") if each.raddr}
        except (psutil.Error, OSError):  # it ended meanwhile
            return
        self.strangers |= {peer for peer in peers if not ipaddress.ip_address(peer).is_loopback}
