"""One trace and one form of log through all processes of a running service, and nothing that people wrote in either."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rag.settings import Settings

SECRET = "Zanzibarmerger"  # a word that stands in no code and no document
QUESTION = f"Within how many business days must a bank determine whether an error occurred? {SECRET}"
HOSTILE = ('\n{"level": "INFO", "event": "forged"}', "\r\nforged: yes", "\x1b[2J", "\u2028forged", "%s %d", "\x00\x85")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Collector:
    """Takes spans by OTLP over HTTP, and keeps them as they came."""

    spans: list[tuple[str, Any]] = field(default_factory=list)  # (name of the service, span)
    raw: list[bytes] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        self.raw.append(body)
        for each in request.resource_spans:
            service = next(a.value.string_value for a in each.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in each.scope_spans for span in scope.spans]

    def of(self, trace: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in self.spans if span.trace_id.hex() == trace]


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    found = Collector()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def watched(
    start_server: Callable[..., Any],
    make_service_settings: Callable[..., Settings],
    collector: tuple[Collector, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """Assistant, Embedder and Generator with all on that production has; stopped, so that all has been written."""
    logs = tmp_path_factory.mktemp("logs")
    server = start_server(
        make_service_settings(),
        BANKSIGHT__EMBEDDING__SERVING="service",
        BANKSIGHT__GENERATION__ENGINE="simulated",
        BANKSIGHT__GENERATION__SERVING="service",
        BANKSIGHT__TRACING__ENDPOINT=collector[1],
        BANKSIGHT__LOGGING__FORM="json",
        BANKSIGHT__LOGGING__REQUESTS="each",
        BANKSIGHT__LOGGING__DIR=str(logs),
        BANKSIGHT__METRICS__READERS="private_network",
    )
    server.wait_until_ready()
    server.ingest()
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    server.answer = httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}, headers=headers, timeout=60)
    for text in HOSTILE:
        httpx.post(f"{server.url}/v1/ask", json={"question": f"{SECRET} {text}"}, timeout=60)
        httpx.post(f"{server.url}/v1/search", json={"query": SECRET + text})
        httpx.get(f"{server.url}/v1/documents/{SECRET}", params={SECRET: text})
        files = {"file": (f"{SECRET}{text}.txt", b"Nothing.")}
        httpx.post(f"{server.url}/v1/documents", files=files)
        httpx.get(
            server.url,
            headers={
                "X-Name": SECRET.encode() + text.encode().replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")
            },
        )
    server.shown = {
        path: httpx.get(server.url + path).status_code for path in ("/metrics", "/docs.json", "/schema.json")
    }
    passed_on = {"X-Forwarded-For": "203.0.113.9"}
    server.hidden = {
        path: httpx.get(server.url + path, headers=passed_on).status_code
        for path in ("/metrics", "/docs.json", "/schema.json", "/", "/readyz")
    }
    server.metrics = httpx.get(f"{server.url}/metrics").text
    assert server.stop() == 0
    server.lines = [line for path in sorted(logs.iterdir()) for line in path.read_text("utf-8").splitlines()]
    until = time.monotonic() + 20
    while len({service for service, _ in collector[0].of(TRACE)}) < 3 and time.monotonic() < until:
        time.sleep(0.1)
    return server


def test_one_trace_holds_the_spans_of_assistant_embedder_and_generator(
    watched: Any, collector: tuple[Collector, str]
) -> None:
    assert watched.answer.status_code == 200
    spans = collector[0].of(TRACE)
    assert {service for service, _ in spans} == {"banksight-assistant", "banksight-embedder", "banksight-generator"}
    names = {span.name for _, span in spans}
    assert names >= {"POST /v1/ask", "answer", "retrieve", "generate", "POST /encode", "POST /generate", "query chroma"}
    ids = {span.span_id for _, span in spans}
    strangers = [span for _, span in spans if span.parent_span_id not in ids]
    assert [(span.name, span.parent_span_id.hex()) for span in strangers] == [("POST /v1/ask", "b7ad6b7169203331")]


@pytest.mark.proves("AISVS 12.1.3")
def test_calls_of_models_follow_the_conventions_for_generative_ai(
    watched: Any, collector: tuple[Collector, str]
) -> None:
    spans = {span.name.split()[0]: span for service, span in collector[0].of(TRACE) if service == "banksight-assistant"}
    for operation in ("embeddings", "chat"):
        attributes = {each.key: each.value for each in spans[operation].attributes}
        assert attributes["gen_ai.operation.name"].string_value == operation
        assert spans[operation].name == f"{operation} {attributes['gen_ai.request.model'].string_value}"
    used = {each.key: each.value.int_value for each in spans["chat"].attributes}
    assert used["gen_ai.usage.input_tokens"] > 0


@pytest.mark.proves("LLM02", "ASVS 16.2.5")
def test_no_span_holds_what_people_wrote_or_documents_say(watched: Any, collector: tuple[Collector, str]) -> None:
    sent = b"".join(collector[0].raw).lower()
    assert len(collector[0].spans) > 20
    for word in (SECRET.lower().encode(), b"business days", b"forged"):
        assert word not in sent


@pytest.mark.proves("LLM02", "ASVS 16.2.4", "ASVS 16.2.5")
def test_every_line_of_the_log_is_json_and_none_holds_what_people_wrote(watched: Any) -> None:
    parsed = [json.loads(line) for line in watched.lines]
    assert {line["service"] for line in parsed} >= {"assistant"}
    assert all(set(line) >= {"time", "level", "event", "logger"} for line in parsed)
    for word in (SECRET, "forged", "business days"):
        assert not [line for line in watched.lines if word.lower() in line.lower()]


@pytest.mark.proves("AISVS 12.1.1", "ASVS 16.2.1", "ASVS 16.2.4")
def test_a_request_and_its_answer_are_a_line_each_with_the_id_of_the_trace(watched: Any) -> None:
    ours = [json.loads(line) for line in watched.lines if TRACE in line]
    request = next(line for line in ours if line["event"] == "request")
    assert (request["route"], request["status"], request["method"]) == ("/v1/ask", 200, "POST")
    answered = next(line for line in ours if line["event"] == "answered")
    assert answered["answer_id"] == watched.answer.json()["id"]
    routes = [json.loads(line).get("route") for line in watched.lines]
    assert "/v1/documents/{document_id}" in routes
    assert "/readyz" not in routes


def test_standard_error_of_the_workers_has_the_same_form(watched: Any) -> None:
    lines = [line for line in watched.log.read_text().splitlines() if '"event"' in line]
    assert {json.loads(line)["event"] for line in lines} >= {"request", "answered"}


@pytest.mark.proves("SOC 2 CC6.6")
def test_metrics_and_documentation_are_for_the_private_network_alone(watched: Any) -> None:
    assert set(watched.shown.values()) == {200}
    assert watched.hidden == {"/metrics": 404, "/docs.json": 404, "/schema.json": 404, "/": 404, "/readyz": 200}


def test_labels_of_metrics_hold_no_path_and_no_text(watched: Any) -> None:
    assert SECRET not in watched.metrics
    routes = set(re.findall(r'route="([^"]*)"', watched.metrics))
    assert routes <= {
        "/v1/ask", "/v1/search", "/v1/documents", "/v1/documents/{document_id}", "/v1/jobs", "/v1/jobs/{job_id}", "/",
        "/metrics", "/docs.json", "/health", "/readyz", "/livez", "unmatched",
    }  # fmt: skip
    assert "corpus_ingested_timestamp_seconds 1." in watched.metrics
