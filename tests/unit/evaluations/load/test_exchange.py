"""One request of a virtual user against a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from evaluations.load.exchange import Line, Place
from evaluations.load.person import Action

pytestmark = pytest.mark.network_allowed

ANSWER = {
    "status": "answered", "text": "Ten days. [1]", "cached": True, "notice": "", "timings": {"total": 0.5},
    "tokens": {"completion": 7},
}  # fmt: skip


class _Service(ThreadingHTTPServer):
    """Answers what `said` holds for a question, and remembers what it was asked."""

    daemon_threads = True
    said: dict[str, tuple[int, bytes]]
    asked: list[tuple[str, dict[str, str], bytes]]
    connections = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Service

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        status, content = self.server.said[self.path]
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(content), 40):  # events come in pieces that end anywhere
            piece = content[start : start + 40]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")


def _frames(*events: tuple[str, Any]) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)


@pytest.fixture
def service() -> Iterator[_Service]:
    server = _Service(("127.0.0.1", 0), _Handler)
    server.said, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def line(service: _Service) -> Iterator[Line]:
    line = Line(Place(f"http://127.0.0.1:{service.server_port}", key="k1", timeout=5))
    yield line
    line.close()


ASK = Action("ask", "/v1/ask", {"question": "q", "stream": True})


def test_an_answer_is_noted_with_what_the_service_tells_of_it(service: _Service, line: Line) -> None:
    events = _frames(("status", {}), ("sentence", {"text": "Ten"}), ("answer", ANSWER), ("done", {}))
    service.said["/v1/ask"] = (200, b": keep-alive\n\n" + events)
    sample, text = line.carry_out(ASK, 3.0)
    assert (sample.result, sample.cached, sample.timings, sample.tokens) == (
        "answered", True, {"total": 0.5}, {"completion": 7},
    )  # fmt: skip
    assert text == "Ten days. [1]"
    assert sample.first is not None
    assert 0 < sample.first <= sample.total


def test_the_connection_and_the_key_are_used_again(service: _Service, line: Line) -> None:
    service.said["/v1/ask"] = (200, _frames(("answer", ANSWER), ("done", {})))
    for _ in range(3):
        line.carry_out(ASK, 0.0)
    assert service.connections == 1
    assert [headers["Authorization"] for _, headers, _ in service.asked] == ["Bearer k1"] * 3


def test_who_stops_leaves_at_the_first_words(service: _Service, line: Line) -> None:
    service.said["/v1/ask"] = (200, _frames(("sentence", {"text": "Ten"}), ("answer", ANSWER), ("done", {})))
    sample, text = line.carry_out(Action("stop", "/v1/ask", ASK.body), 0.0)
    assert (sample.result, text, sample.timings) == ("stopped", "", {})
    line.carry_out(ASK, 0.0)
    assert service.connections == 2


@pytest.mark.parametrize(("status", "result"), [(429, "busy"), (503, "busy"), (403, "forbidden"), (500, "error")])
def test_a_status_says_what_became_of_a_request(service: _Service, line: Line, status: int, result: str) -> None:
    service.said["/v1/ask"] = (status, json.dumps({"title": "Told", "status": status}).encode())
    sample, _ = line.carry_out(ASK, 0.0)
    assert (sample.status, sample.result, sample.detail) == (status, result, f"{status} Told")


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (_frames(("sentence", {"text": "Ten"})), "error"),
        (_frames(("error", {"status": 503, "title": "Service Unavailable"})), "busy"),
        (_frames(("error", {"status": 500, "title": "Internal Server Error"})), "error"),
    ],
)
def test_a_stream_that_does_not_end_with_an_answer_is_no_good(
    service: _Service, line: Line, content: bytes, result: str
) -> None:
    service.said["/v1/ask"] = (200, content)
    assert line.carry_out(ASK, 0.0)[0].result == result


def test_nobody_there_is_an_error_and_no_exception() -> None:
    sample, _ = Line(Place("http://127.0.0.1:1", timeout=1)).carry_out(ASK, 0.0)
    assert (sample.result, sample.status) == ("error", 0)
    assert "Refused" in sample.detail


def test_a_name_can_be_reached_elsewhere(service: _Service) -> None:
    service.said["/v1/search"] = (200, b"{}")
    line = Line(Place("http://api.bank.test", timeout=5, connect=f"127.0.0.1:{service.server_port}"))
    sample, _ = line.carry_out(Action("search", "/v1/search", {"query": "q"}), 0.0)
    line.close()
    assert sample.result == "searched"
    assert service.asked[0][1]["Host"] == "api.bank.test"


def test_an_upload_is_a_form_with_a_file(service: _Service, line: Line) -> None:
    service.said["/v1/documents"] = (202, b"{}")
    body = {"name": "a.txt", "text": "Open at 9:00.", "collection": "c"}
    sample, _ = line.carry_out(Action("upload", "/v1/documents", body), 0.0)
    assert sample.result == "uploaded"
    assert b'filename="a.txt"' in service.asked[0][2]
    assert b"Open at 9:00." in service.asked[0][2]
