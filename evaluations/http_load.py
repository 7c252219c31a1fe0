"""Bounded load on an HTTP server: one caller after the other, or a fixed number at once for a fixed time.

Callers are threads over `http.client` with a connection each: on a small machine the client must cost little, because
it shares the cores with the server that it measures.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Target:
    """A route of a server on this machine, called with POST and JSON, and with `key` where there is one."""

    port: int
    path: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Load:
    """What a loaded server did: requests answered, seconds of each, seconds of wall clock."""

    latencies: tuple[float, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds


def one_caller(target: Target, bodies: Sequence[dict[str, Any]]) -> Load:
    """Send all bodies one after the other over one connection. Raises `RuntimeError` for an answer that is not 200."""
    started = time.perf_counter()
    connection = _connect(target)
    latencies = tuple(_call(connection, target, body) for body in bodies)
    connection.close()
    return Load(latencies, time.perf_counter() - started)


def many_callers(target: Target, bodies: Iterator[dict[str, Any]], callers: int, seconds: float) -> Load:
    """`callers` threads send one body after the other until the time is over."""
    taking = threading.Lock()
    until = time.perf_counter() + seconds
    found: list[list[float]] = [[] for _ in range(callers)]
    failures: list[Exception] = []

    def call(number: int) -> None:
        connection = _connect(target)
        try:
            while time.perf_counter() < until and not failures:
                with taking:
                    body = next(bodies)
                found[number].append(_call(connection, target, body))
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a caller of {target.path} failed: {failures[0]}") from failures[0]
    return Load(tuple(itertools.chain.from_iterable(found)), time.perf_counter() - started)


def _connect(target: Target) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", target.port, timeout=TIMEOUT_SECONDS)


def _call(connection: http.client.HTTPConnection, target: Target, body: dict[str, Any]) -> float:
    started = time.perf_counter()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {target.key}"} if target.key else {})
    connection.request("POST", target.path, json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != http.client.OK:
        raise RuntimeError(f"{target.path} answered {response.status}: {content[:300].decode(errors='replace')}")
    return time.perf_counter() - started
