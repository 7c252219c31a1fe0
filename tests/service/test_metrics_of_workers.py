"""`/metrics` of a service with two workers: whichever of them answers, it tells of both."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from rag.settings import Settings

AT_ONCE = 40


def test_either_worker_tells_what_both_have_done(
    start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]
) -> None:
    """The store is away, so that the workers serve nothing but refusals, which are counted like answers."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    workers = {
        "BANKSIGHT__SERVER__WORKERS": "2",
        "BANKSIGHT__INGESTION__SERVING": "worker",
        "BANKSIGHT__STORAGE__CHROMA": "server",
        "BANKSIGHT__STORAGE__CHROMA_HOST": "127.0.0.1",
        "BANKSIGHT__STORAGE__CHROMA_PORT": str(port),
    }
    server = start_server(make_service_settings(), **workers)
    folder = Path(server.environment["BENTOML_HOME"]) / "prometheus_multiproc_dir"
    until = time.monotonic() + 120
    while not _listens(server.url):
        assert time.monotonic() < until, server.log.read_text()[-2000:]
        time.sleep(0.1)
    asked = 0
    while _workers_that_counted(folder) < 2:  # one may take all while the other still starts
        assert time.monotonic() < until, server.log.read_text()[-2000:]
        assert _ask_at_once(server.url) == {503}
        asked += AT_ONCE
    for _ in range(10):
        text = httpx.get(f"{server.url}/metrics", timeout=30).text
        counted = re.search(r'^http_requests_total\{method="POST",route="/v1/search",status="503"\} (\S+)$', text, re.M)
        assert counted is not None
        assert float(counted[1]) == asked
    assert server.stop() == 0


def _listens(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _ask_at_once(url: str) -> set[int]:
    """Statuses of requests on connections of their own."""
    found: list[int] = []

    def ask() -> None:
        found.append(httpx.post(f"{url}/v1/search", json={"query": "fees"}, timeout=60).status_code)

    callers = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == AT_ONCE
    return set(found)


def _workers_that_counted(folder: Path) -> int:
    """Processes that have a file of counters in which requests are."""
    return sum(b"http_requests" in path.read_bytes() for path in folder.glob("counter_*.db"))
