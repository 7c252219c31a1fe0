"""What Prometheus reads. Names are a promise to operators; labels are a few fixed words, never ids or text.

In a process of BentoML these are added up over all processes. Import it there only after BentoML has started, which
sets where they are added up; therefore nothing imports this module at the top of an entry module.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

from rag.domain import Answer, IngestReport
from rag.operations.tracing import client_span
from rag.query.events import Stage

# "abandoned" is what engines took that were given up.
STAGES: Final = (*get_args(Stage), "abandoned")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

HTTP_REQUESTS = Counter("http_requests", "Requests by route template and status.", ("method", "route", "status"))
HTTP_SECONDS = Histogram(
    "http_request_duration_seconds", "Time until the last byte of the response.", ("method", "route"), buckets=_SECONDS
)
HTTP_OPEN = Gauge("http_requests_open", "Requests being answered now, streams included.", multiprocess_mode="livesum")
STREAMS_BROKEN = Counter(
    "http_streams_broken", "Streams that ended with an error of ours after their status line.", ("route",)
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
ESCALATIONS = Counter("escalations", "Answers that sent somebody to a person, by topic.", ("topic",))
FEEDBACK = Counter("feedback", "What people said of answers.", ("rating",))  # up | down
RESPONSE_CACHE = Counter(
    "response_cache_requests", "Questions by what the response cache said: hit, miss, bypass or error.", ("result",)
)
QUOTA_TOKENS = Counter("quota_tokens", "Tokens that were charged to people, keys and tenants with a daily quota.")
EMBEDDING_CALLS = Counter(
    "embedding_model_calls", "Forward passes of the Embedder; fewer than its requests is batching."
)
EMBEDDED_TEXTS = Counter("embedded_texts", "Texts that the Embedder was asked for.")
CACHE_HITS = Counter("response_cache_hits", "Kept answers by tier; shared: just being given.", ("tier",))
CACHE_REJECTED = Counter(
    "response_cache_rejected", "Kept answers that were not given: forged, unreadable, outdated, disputed.", ("reason",)
)
INGESTED = Counter("ingestion_documents", "Documents by what an ingestion run did with them.", ("outcome",))
SNAPSHOT = Gauge("corpus_snapshot", "The snapshot that answers are given from.", multiprocess_mode="mostrecent")


def answered(answer: Answer) -> None:
    """Count one finished answer."""
    ANSWERS.labels(answer.status).inc()
    if answer.status == "escalated":
        ESCALATIONS.labels(answer.reason).inc()  # a topic of `contacts`
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


def cache_asked(result: Literal["hit", "miss", "bypass", "error"]) -> None:
    """Count a question by what the response cache said; `error`: Redis said nothing."""
    RESPONSE_CACHE.labels(result).inc()


def cache_hit(tier: Literal["memory", "redis", "shared"]) -> None:
    """Count an answer that was given before; `shared`: it was being given just then."""
    RESPONSE_CACHE.labels("hit").inc()
    CACHE_HITS.labels(tier).inc()


def cache_rejected(reason: Literal["forged", "unreadable", "outdated", "disputed"]) -> None:
    """Count a kept answer that must not be given."""
    CACHE_REJECTED.labels(reason).inc()


def ingested(report: IngestReport) -> None:
    """Count one finished ingestion run."""
    for outcome in report.outcomes:
        INGESTED.labels(outcome.outcome).inc()
    SNAPSHOT.set(report.snapshot)


@contextmanager
def vector_query() -> Iterator[None]:
    """Measure one search in Chroma, and trace it."""
    started = time.perf_counter()
    try:
        with client_span("query chroma", {"db.system.name": "chroma", "db.operation.name": "query"}):
            yield
    finally:
        VECTOR_QUERY_SECONDS.observe(time.perf_counter() - started)
