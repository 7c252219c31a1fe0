"""Endpoints that are busy, broken or not there, as real servers on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evaluations.commands.group import evaluate
from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.runs.records import ItemRecord
from evaluations.runs.store import RunStore
from rag.errors import ConfigurationError

pytestmark = pytest.mark.network_allowed
Reply = tuple[int, dict[str, str], Any]
GOOD: Reply = (200, {}, {"choices": [{"message": {"content": "It is five."}}], "usage": {"prompt_tokens": 3}})
SUITE = """\
name: mine
title: t
workers: 1
data:
  - {name: q, format: questions, path: q.jsonl, origin: here, licence: ours}
metrics: [token_f1, recall@5, brier, seconds]
"""


class Server(ThreadingHTTPServer):
    """Speaks OpenAI's API: gives these replies to chat completions in turn, then good ones."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = []
        self.asked: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send((200, {}, {"data": []}))

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(self.server.replies.pop(0) if self.server.replies else GOOD)

    def _send(self, reply: Reply) -> None:
        status, headers, content = reply
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    rows = [
        {"id": str(number), "question": f"What is {number}?", "answer": "five", "answerable": True, "pages": ["d 1"]}
        for number in range(3)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.yaml").write_text(SUITE)


def _run(folder: Path, url: str, *more: str) -> Result:
    arguments = ["run", str(folder / "mine.yaml"), "--runs", str(folder / "runs"), "--target", url, *more]
    result = CliRunner().invoke(evaluate, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def _records(folder: Path) -> list[ItemRecord]:
    store = RunStore.open(folder / "runs")
    try:
        return store.items(store.runs()[-1].id)
    finally:
        store.close()


OPENAI = ("--api", "openai", "--model", "any")


def test_a_busy_endpoint_is_asked_again_when_it_says_so(server: Server, tmp_path: Path) -> None:
    in_the_past = formatdate(0, usegmt=True)
    server.replies = [(503, {"Retry-After": "0"}, {}), (429, {"Retry-After": in_the_past}, {}), GOOD]
    result = _run(tmp_path, server.url, *OPENAI)
    assert [each["messages"][-1]["content"][8] for each in server.asked] == ["0", "0", "0", "1", "2"]
    assert [each.state for each in _records(tmp_path)] == ["ok"] * 3
    assert result.return_value == 0


def test_an_endpoint_that_stays_busy_makes_a_failed_item_with_its_reason(server: Server, tmp_path: Path) -> None:
    server.replies = [(503, {"Retry-After": "0"}, {"detail": "the model is loading"})] * 5
    result = _run(tmp_path, server.url, *OPENAI)
    assert result.return_value == 1
    assert "3 of 3 items, 1 failed" in result.output
    assert _records(tmp_path)[0].failure == "ModelError: the endpoint answered 503: the model is loading"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((401, {}, {"error": {"message": "wrong key"}}), "ModelError: the endpoint answered 401: wrong key"),
        ((200, {}, {"choices": []}), "IndexError: list index out of range"),
    ],
)
def test_what_an_endpoint_does_wrong_is_counted_and_the_run_goes_on(
    server: Server, tmp_path: Path, reply: Reply, reason: str
) -> None:
    server.replies = [reply]
    assert _run(tmp_path, server.url, *OPENAI).return_value == 1
    assert [each.failure for each in _records(tmp_path)] == [reason, "", ""]


def test_metrics_that_openais_api_gives_nothing_for_are_left_out_and_named(server: Server, tmp_path: Path) -> None:
    assert "does not give what they need: recall@5, brier" in _run(tmp_path, server.url, *OPENAI).output


@pytest.mark.parametrize("more", [(), OPENAI])
def test_an_endpoint_that_is_not_there_is_said_at_once(tmp_path: Path, more: tuple[str, ...]) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(ConfigurationError, match=r"cannot be evaluated: .*; check that it runs, its address"):
        _run(tmp_path, url, *more)
    assert not list((tmp_path / "runs").glob("mine-*"))


def test_what_is_no_banksight_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no BankSight; give --api openai"):
        _run(tmp_path, server.url)
