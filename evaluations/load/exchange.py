"""One request of a virtual user, and when its first words and its end came.

Plain `http.client`: it costs the loading machine little, and gevent makes it wait without a thread.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from evaluations.load.mix import Kind
from evaluations.load.person import Action

Result = Literal[
    "answered", "partial", "refused", "escalated", "searched", "uploaded", "stopped", "busy", "forbidden", "error"
]
_WORDS: Final = frozenset({"draft", "sentence", "answer"})  # events that people can read something of
_BUSY: Final = frozenset({429, 503})
_REFUSED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Place:
    """A service at `url`. `connect` ("host:port") is where it is really reached; `certificate` vouches for it."""

    url: str
    key: str = ""
    timeout: float = 60.0
    connect: str = ""
    certificate: str = ""


@dataclass(slots=True)
class Sample:
    """One request: times in seconds, `began` since the load began, `first` None where no words came.

    `status` is HTTP's, 0 without an answer. `timings` and `tokens` are the service's own (`Answer`).
    """

    kind: Kind
    began: float
    total: float = 0.0
    first: float | None = None
    status: int = 0
    result: Result = "error"
    detail: str = ""
    cached: bool = False
    notice: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


class Line:
    """The connection of one user, opened again when it was closed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        parts = urlsplit(place.url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/").removesuffix("/v1")
        self._context = ssl.create_default_context(cafile=place.certificate or None) if self._secure else None
        self._connection: http.client.HTTPConnection | None = None

    def carry_out(self, action: Action, began: float) -> tuple[Sample, str]:
        """The sample, and the answer's text. Never raises for what the other side does."""
        sample = Sample(action.kind, began)
        started = time.perf_counter()
        text = ""
        try:
            text = self._exchange(action, sample, started)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            sample.result, sample.detail = "error", f"{type(error).__name__}: {error}"[:200]
            self.close()
        sample.total = time.perf_counter() - started
        return sample, text

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, action: Action, sample: Sample, started: float) -> str:
        response = self._sent(action)
        sample.status = response.status
        if response.status >= 400:
            content = response.read()
            sample.detail = f"{response.status} {_reason(content)}"
            sample.result = (
                "busy" if response.status in _BUSY else "forbidden" if response.status in _REFUSED else "error"
            )
            return ""
        if action.path != "/v1/ask":
            response.read()
            sample.result = "searched" if action.kind == "search" else "uploaded"
            return ""
        for name, data in _events(response):
            if name in _WORDS and sample.first is None:
                sample.first = time.perf_counter() - started
                if action.kind == "stop":
                    sample.result = "stopped"
                    self.close()
                    return ""
            if name == "answer":
                _note(sample, data)
                response.read()  # `done`, so that the connection can be used again
                return str(data["text"])
            if name == "error":
                sample.result = "busy" if data.get("status") in _BUSY else "error"
                sample.detail = f"in the stream: {data.get('title') or data.get('detail')}"[:200]
                response.read()
                return ""
        sample.detail = "the stream was cut"
        self.close()
        return ""

    def _sent(self, action: Action) -> http.client.HTTPResponse:
        """The response of a request; once more where the other side had closed an idle connection meanwhile."""
        content, kind = _content(action)
        headers = {"Content-Type": kind, "Accept": "text/event-stream, application/json"}
        if self._place.key:
            headers["Authorization"] = f"Bearer {self._place.key}"
        if self._connection is not None and self._connection.sock is None:
            self._connection = None  # the last response said that it closes
        reused = self._connection is not None
        while True:
            self._connection = self._connection or self._opened()
            try:
                self._connection.request("POST", self._prefix + action.path, content, headers)
                return self._connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                self.close()
                if not reused:
                    raise
                reused = False

    def _opened(self) -> http.client.HTTPConnection:
        timeout = self._place.timeout
        host, _, port = self._place.connect.rpartition(":")
        address = (host or self._host, int(port or self._port))
        raw = socket.create_connection(address, timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        connection.sock = raw if self._context is None else self._context.wrap_socket(raw, server_hostname=self._host)
        return connection


def _content(action: Action) -> tuple[bytes, str]:
    """The body of a request, and its media type."""
    if action.kind != "upload":
        return json.dumps(action.body).encode(), "application/json"
    boundary = uuid4().hex
    head = 'Content-Disposition: form-data; name="{}"'
    collection = f"--{boundary}\r\n{head.format('collection')}\r\n\r\n{action.body['collection']}\r\n"
    file = (
        f'--{boundary}\r\n{head.format("file")}; filename="{action.body["name"]}"\r\nContent-Type: text/plain\r\n\r\n'
    )
    content = f"{collection}{file}{action.body['text']}\r\n--{boundary}--\r\n"
    return content.encode(), f"multipart/form-data; boundary={boundary}"


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events of ours, as they come: one `data` line each. Those without words are not decoded."""
    name = ""
    while line := response.readline():
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: ") and name:
            yield name, json.loads(line[6:]) if name in {"answer", "error"} else {}


def _note(sample: Sample, answer: dict[str, Any]) -> None:
    sample.result = answer["status"]
    sample.cached = bool(answer.get("cached"))
    sample.notice = bool(answer.get("notice"))
    sample.timings = dict(answer.get("timings", {}))
    sample.tokens = dict(answer.get("tokens", {}))


def _reason(content: bytes) -> str:
    """What a problem document says, else the beginning of the text."""
    try:
        told = json.loads(content)
        return str(told.get("title") or told.get("detail") or told)[:150]
    except (ValueError, AttributeError):
        return content[:150].decode(errors="replace")
