"""Which nodes there are now, and which of them can answer."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rag.errors import ConfigurationError

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 1.0  # a healthy node answers /readyz within a few milliseconds


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """Where a node listens. `host` is an IP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def found(entries: Sequence[str]) -> list[Node]:
    """The nodes that these entries stand for, sorted; each address of a name is one.

    A name that nobody knows now is left out: autoscaling has not started it yet, or has ended it. Raises
    `ConfigurationError` for an entry that cannot be read, and when nothing is left.
    """
    nodes = {node for entry in _flat(entries) for node in _resolved(entry)}
    if not nodes:
        raise ConfigurationError(f"no node is known for {', '.join(entries) or 'an empty list'}; name one that runs")
    return sorted(nodes)


def unready(nodes: Sequence[Node]) -> frozenset[Node]:
    """Those that do not say at `/readyz` that they can answer. Empty when it is all of them: then the probe may be
    what is wrong, and a node that answers some questions is better than none."""
    with ThreadPoolExecutor(len(nodes)) as threads:
        ready = list(threads.map(_is_ready, nodes))
    lost = frozenset(node for node, is_ready in zip(nodes, ready, strict=True) if not is_ready)
    return lost if len(lost) < len(nodes) else frozenset()


def _flat(entries: Iterable[str]) -> Iterable[str]:
    for entry in entries:
        if not entry.startswith("file:"):
            yield entry
            continue
        try:
            lines = Path(entry.removeprefix("file:")).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigurationError(f"the list of nodes {entry} cannot be read: {error.strerror}") from error
        yield from (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _resolved(entry: str) -> list[Node]:
    host, _, port = entry.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigurationError(f"{entry!r} is not a node: write host:port, or file:PATH of a list of them")
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        logger.warning("node %s is left out: %s", entry, error)
        return []
    return [Node(str(address[4][0]), int(port)) for address in addresses]


def _is_ready(node: Node) -> bool:
    connection = http.client.HTTPConnection(node.host, node.port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
