"""What Prometheus reads. Names are a promise to operators; labels are a few fixed words, never ids or text.

In a process of BentoML these are added up over all processes. Import it there only after BentoML has started, which
sets where they are added up; therefore nothing imports this module at the top of an entry module.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rag.domain import Answer, IngestReport
from rag.models.engine import EngineStats
from rag.query.events import Stage

# "abandoned" is what engines took that were given up.
STAGES: Final = (*get_args(Stage), "abandoned")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

HTTP_REQUESTS = Counter("http_requests", "Requests by route template and status.", ("method", "route", "status"))
HTTP_SECONDS = Histogram(
    "http_request_duration_seconds", "Time until the last byte of the response.", ("method", "route"), buckets=_SECONDS
)
ANSWERS = Counter("answers", "Answers by their status.", ("status",))
GENERATION_SECONDS = Histogram(
    "llm_inference_duration_seconds", "Time that the engine took for one answer.", ("engine",), buckets=_SECONDS
)
FIRST_TOKEN_SECONDS = Histogram(
    "llm_time_to_first_token_seconds",
    "From the request to the first text.",
    ("engine",),
    buckets=_SECONDS,
)
STAGE_SECONDS = Histogram("answer_stage_seconds", "Time of each stage of an answer.", ("stage",), buckets=_SECONDS)
DEGRADED = Counter("answers_degraded", "Answers that the configured engine did not give or finish.", ("reason",))
TOKENS = Counter("llm_tokens", "Tokens that went into and came out of the engine.", ("kind",))
VECTOR_QUERY_SECONDS = Histogram(
    "vector_db_query_duration_seconds", "Time of one search in Chroma, all scopes together.", buckets=_SECONDS
)
ADMISSION_WAITING = Gauge("admission_queue_length", "Questions that wait for a slot.", multiprocess_mode="livesum")
ADMISSION_SECONDS = Histogram(
    "admission_wait_seconds", "How long questions waited for a slot that had to wait.", buckets=_SECONDS
)
ADMISSION_REJECTED = Counter("admission_rejected", "Requests that were refused at the door.", ("reason",))
EMBEDDING_CALLS = Counter(
    "embedding_model_calls", "Forward passes of the Embedder; fewer than its requests is batching."
)
EMBEDDED_TEXTS = Counter("embedded_texts", "Texts that the Embedder was asked for.")
INGESTED = Counter("ingestion_documents", "Documents by what an ingestion run did with them.", ("outcome",))
SNAPSHOT = Gauge("corpus_snapshot", "The snapshot that answers are given from.", multiprocess_mode="mostrecent")


def answered(answer: Answer) -> None:
    """Count one finished answer."""
    ANSWERS.labels(answer.status).inc()
    if "generate" in answer.timings:
        GENERATION_SECONDS.labels(answer.engine).observe(answer.timings["generate"])
    if "first_token" in answer.timings:
        FIRST_TOKEN_SECONDS.labels(answer.engine).observe(answer.timings["first_token"])
    for stage in STAGES:
        if stage in answer.timings:
            STAGE_SECONDS.labels(stage).observe(answer.timings[stage])
    if answer.degraded:
        DEGRADED.labels(answer.degraded).inc()
    for kind, number in answer.tokens.items():
        TOKENS.labels(kind).inc(number)


def ingested(report: IngestReport) -> None:
    """Count one finished ingestion run."""
    for outcome in report.outcomes:
        INGESTED.labels(outcome.outcome).inc()
    SNAPSHOT.set(report.snapshot)


class _Engines(Collector):
    """What engines do at this moment, as they count it themselves."""

    def __init__(self, stats: Mapping[str, EngineStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        requests = GaugeMetricFamily("llm_engine_requests", "Requests in the engine.", labels=("engine", "state"))
        room = GaugeMetricFamily("llm_engine_limit", "How many may run, and wait.", labels=("engine", "state"))
        ended = CounterMetricFamily("llm_engine_ended", "Requests by how they ended.", labels=("engine", "outcome"))
        tokens = CounterMetricFamily("llm_engine_tokens", "Tokens by their kind.", labels=("engine", "kind"))
        for name, each in self._stats.items():
            requests.add_metric((name, "running"), each.running)
            requests.add_metric((name, "waiting"), each.waiting)
            room.add_metric((name, "running"), each.slots)
            room.add_metric((name, "waiting"), each.queue_limit)
            for outcome in ("completed", "cancelled", "failed"):
                ended.add_metric((name, outcome), getattr(each, outcome))
            for kind in ("prompt", "cached", "completion"):
                tokens.add_metric((name, kind), getattr(each, f"{kind}_tokens"))
        yield from (requests, room, ended, tokens)


def exposition(engines: Mapping[str, EngineStats] = MappingProxyType({})) -> bytes:
    """Everything in Prometheus' text format: of this process, or of all that share `PROMETHEUS_MULTIPROC_DIR`.

    `engines` are added to it: what they do now, by name.
    """
    now = CollectorRegistry()
    now.register(_Engines(engines))
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest() + generate_latest(now)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no annotation here
    return generate_latest(registry) + generate_latest(now)


@contextmanager
def vector_query() -> Iterator[None]:
    """Measure one search in Chroma."""
    started = time.perf_counter()
    try:
        yield
    finally:
        VECTOR_QUERY_SECONDS.observe(time.perf_counter() - started)
