"""Metrics that several processes of a node share: added up, or the latest, as each one means."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What one process of the API does: `argv` is how many answers, and the snapshot that it saw last.
WORK = """
import sys
from rag.domain import Answer, DocumentOutcome, IngestReport
from rag.operations import telemetry
answers, snapshot = int(sys.argv[1]), int(sys.argv[2])
for number in range(answers):
    telemetry.HTTP_REQUESTS.labels("POST", "/v1/ask", "200").inc()
    telemetry.HTTP_SECONDS.labels("POST", "/v1/ask").observe(0.2)
    telemetry.answered(Answer(id=str(number), question="q", text="t", status="answered", engine="mistral",
        timings={"generate": 0.5, "first_token": 0.02, "retrieve": 0.01}, tokens={"prompt": 700, "completion": 90}))
    with telemetry.vector_query():
        pass
telemetry.answered(Answer(id="e", question="q", text="t", status="escalated", reason="fraud"))
outcome = DocumentOutcome("d", "u", "added")
telemetry.ingested(IngestReport((outcome,), snapshot, 1.0, 1, 1, 1))
telemetry.RESPONSE_CACHE.labels("hit").inc()
telemetry.FEEDBACK.labels("up").inc()
telemetry.HTTP_OPEN.inc()
telemetry.ADMISSION_WAITING.inc(2)
print("done", flush=True)
input()
"""
READ = "import sys; from rag.operations.exposition import exposition; sys.stdout.buffer.write(exposition())"


@contextmanager
def working(folder: Path, answers: int, snapshot: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has done its work, and lives until it is told to end or killed."""
    process = _begin(folder, WORK, str(answers), str(snapshot))
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    try:
        yield process
    finally:
        process.communicate("\n", timeout=60)


def _begin(folder: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, text=True,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def _read(folder: Path) -> str:
    return _begin(folder, READ).communicate(timeout=60)[0]


def _value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, f"{series} is not in\n{text}"
    return float(found[1])


def test_counters_and_histograms_are_added_up_and_gauges_say_what_is_now(tmp_path: Path) -> None:
    with working(tmp_path, 3, 7), working(tmp_path, 2, 8):
        text = _read(tmp_path)
    assert _value(text, 'http_requests_total{method="POST",route="/v1/ask",status="200"}') == 5
    assert _value(text, 'http_request_duration_seconds_count{method="POST",route="/v1/ask"}') == 5
    assert _value(text, 'http_request_duration_seconds_bucket{le="0.25",method="POST",route="/v1/ask"}') == 5
    assert _value(text, 'answers_total{status="answered"}') == 5
    assert _value(text, 'escalations_total{topic="fraud"}') == 2
    assert _value(text, 'llm_inference_duration_seconds_sum{engine="mistral"}') == 2.5
    assert _value(text, 'llm_time_to_first_token_seconds_count{engine="mistral"}') == 5
    assert _value(text, 'llm_tokens_total{kind="prompt"}') == 3500
    assert _value(text, 'answer_stage_seconds_count{stage="retrieve"}') == 5
    assert _value(text, "vector_db_query_duration_seconds_count") == 5
    assert _value(text, 'ingestion_documents_total{outcome="added"}') == 2
    assert _value(text, 'response_cache_requests_total{result="hit"}') == 2
    assert _value(text, 'feedback_total{rating="up"}') == 2
    assert _value(text, "corpus_snapshot") == 8
    assert _value(text, "http_requests_open") == 2
    assert _value(text, "admission_queue_length") == 4


def test_a_killed_process_is_counted_no_longer_where_a_metric_says_what_is_now(tmp_path: Path) -> None:
    with working(tmp_path, 3, 7):
        with working(tmp_path, 2, 8) as second:
            second.kill()
        text = _read(tmp_path)
    assert _value(text, "http_requests_open") == 1
    assert _value(text, "admission_queue_length") == 2
    assert _value(text, 'answers_total{status="answered"}') == 5
    assert _value(text, "corpus_snapshot") == 8
