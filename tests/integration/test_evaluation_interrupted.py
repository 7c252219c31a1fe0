"""`banksight evaluate run` cut by Ctrl-C and by a kill, as a process of its own, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.runs.store import RunStore

ITEMS, BEFORE = 8, 3
SUITE = """\
name: mine
title: t
workers: 1
data:
  - {name: q, format: questions, path: q.jsonl, origin: here, licence: ours}
metrics: [token_f1]
"""


class Server(ThreadingHTTPServer):
    """Answers the first questions, and lets the next one wait until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.stuck, self.go_on = threading.Event(), threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send({"data": []})

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        self.server.asked.append(question)
        if len(self.server.asked) == BEFORE + 1:
            self.server.stuck.set()
            self.server.go_on.wait(120)
        self._send({"choices": [{"message": {"content": "five"}}]})

    def _send(self, content: object) -> None:
        body = json.dumps(content).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # whoever asked was killed

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def _started(folder: Path, server: Server, *more: str) -> subprocess.Popen[str]:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    command = [
        sys.executable, "-m", "rag.cli", "evaluate", "run", str(folder / "mine.yaml"), "--runs", str(folder / "runs"),
        "--target", url, "--api", "openai", "--model", "any", *more,
    ]  # fmt: skip
    environment = {**os.environ, DATA_VARIABLE: str(folder)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("how", "code", "state"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -signal.SIGKILL, "running")]
)
def test_a_run_that_is_cut_goes_on_with_nothing_lost_or_done_twice(
    server: Server, tmp_path: Path, how: signal.Signals, code: int, state: str
) -> None:
    rows = [{"id": str(number), "question": f"What is {number}?", "answer": "five"} for number in range(ITEMS)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(SUITE)
    process = _started(tmp_path, server)
    assert server.stuck.wait(120)
    process.send_signal(how)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert ("go on with: banksight evaluate run mine --resume" in errors) is (how == signal.SIGINT)

    store = RunStore.open(tmp_path / "runs")
    [info] = store.runs()
    done = [each.question for each in store.items(info.id)]
    assert (info.state, done, store.scores(info.id)) == (state, [row["question"] for row in rows[:BEFORE]], [])

    server.go_on.set()
    server.asked.clear()
    again = _started(tmp_path, server, "--resume", "latest")
    assert again.communicate(timeout=120)[1] is not None
    assert again.returncode == 0
    assert server.asked == [row["question"] for row in rows[BEFORE:]]
    assert store.run(info.id).state == "complete"
    lines = (tmp_path / "runs" / info.id / "items.jsonl").read_text().splitlines()
    assert (len(lines), len(store.items(info.id)), len(store.scores(info.id))) == (ITEMS, ITEMS, ITEMS)
    store.close()
