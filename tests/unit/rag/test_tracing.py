"""Spans tell how long an answer took and where, and never what was asked or said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rag.commands.ask import time_line
from rag.domain import Answer
from rag.operations.tracing import client_span, open_tracing, outgoing, serving, trace_id, traced
from rag.query.events import Completed, Event, SentenceReleased, StageFinished
from rag.settings import TracingSettings

SECRET = "When does the merger close?"
EVENTS: tuple[Event, ...] = (
    StageFinished("rewrite", 0.5, {"searched_question": SECRET, "by": "engine"}),
    StageFinished("retrieve", 0.25, {"passages": [{"title": SECRET}, {"title": SECRET}]}),
    SentenceReleased(0, SECRET),
    Completed(
        Answer(
            id="a1",
            question=SECRET,
            text=SECRET,
            status="answered",
            searched_question=SECRET,
            model="m",
            engine="mistral",
            tokens={"prompt": 700, "completion": 90},
        )
    ),
)
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Recorder:
    """Runs events through `traced` and keeps the spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    async def read(self, events: tuple[Event | Exception, ...], leave_after: int | None = None) -> None:
        async def source() -> AsyncGenerator[Event, None]:
            for event in events:
                if isinstance(event, Exception):
                    raise event
                yield event

        stream = traced(source(), self.tracer)
        count = 0
        async for _ in stream:
            count += 1
            if count == leave_after:
                break
        await stream.aclose()

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


def test_an_answer_is_a_span_and_so_is_each_stage_below_it() -> None:
    recorder = Recorder()
    asyncio.run(recorder.read(EVENTS))
    spans = recorder.spans
    assert set(spans) == {"answer", "rewrite", "retrieve"}
    retrieve, answer = spans["retrieve"], spans["answer"]
    assert retrieve.parent is not None
    assert answer.context is not None
    assert retrieve.parent.span_id == answer.context.span_id
    assert retrieve.end_time is not None
    assert retrieve.start_time is not None
    assert retrieve.end_time - retrieve.start_time == 250_000_000
    assert dict(retrieve.attributes or {}) == {"banksight.passages": 2}
    described = dict(answer.attributes or {})
    assert described["banksight.status"] == "answered"
    assert (described["gen_ai.usage.input_tokens"], described["gen_ai.usage.output_tokens"]) == (700, 90)


def test_no_span_holds_a_question_a_title_or_an_answer_even_when_it_fails() -> None:
    recorder = Recorder()
    asyncio.run(recorder.read(EVENTS))
    with pytest.raises(ValueError, match="merger"):
        asyncio.run(recorder.read((EVENTS[0], ValueError(SECRET))))
    written = "".join(span.to_json() for span in recorder.exporter.get_finished_spans())
    assert "merger" not in written
    assert "ValueError" in written


def test_an_answer_that_nobody_waits_for_ends_its_span_and_says_so() -> None:
    recorder = Recorder()
    asyncio.run(recorder.read(EVENTS, leave_after=1))
    assert dict(recorder.spans["answer"].attributes or {})["banksight.abandoned"] is True


def test_spans_belong_to_the_trace_of_the_caller() -> None:
    recorder = Recorder()
    with serving({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, recorder.tracer):
        assert trace_id() == TRACE
        asyncio.run(recorder.read(EVENTS))
    asyncio.run(recorder.read(EVENTS))
    traces = [span.context.trace_id for span in recorder.exporter.get_finished_spans() if span.context]
    assert traces[:4] == [int(TRACE, 16)] * 4
    assert int(TRACE, 16) not in traces[4:]


def test_without_tracing_a_request_has_a_trace_id_of_its_own_that_goes_on_to_other_processes() -> None:
    with serving({}):
        first = trace_id()
        assert outgoing()["traceparent"].startswith(f"00-{first}-")
    with serving({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}):
        assert trace_id() == TRACE
    assert (len(first), first != TRACE, trace_id()) == (32, True, "")


@pytest.mark.parametrize("header", ["", "00-zz-1-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01", f"00-{TRACE}", SECRET])
def test_a_header_that_names_no_trace_begins_a_new_one(header: str) -> None:
    with serving({"traceparent": header, "tracestate": SECRET}):
        assert len(trace_id()) == 32
        assert trace_id() != TRACE


def test_a_call_of_another_process_that_fails_is_a_span_without_the_words_of_the_error() -> None:
    recorder = Recorder()
    with (
        pytest.raises(ValueError, match="merger"),
        client_span("query chroma", {"banksight.texts": 1}, recorder.tracer),
    ):
        raise ValueError(SECRET)
    span = recorder.spans["query chroma"]
    assert span.status.description == "ValueError"
    assert "merger" not in span.to_json()


@pytest.mark.proves("ASVS 16.2.3")
def test_tracing_is_off_until_somebody_says_where_spans_go(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[object] = []
    monkeypatch.setattr("rag.operations.tracing.trace.set_tracer_provider", providers.append)
    open_tracing(TracingSettings(endpoint="", share=1), "test")()
    assert providers == []


def test_the_command_line_says_where_the_time_went_on_one_line() -> None:
    timings = {"total": 2.44, "retrieve": 0.031, "check": 0.001, "generate": 2.0, "first_token": 0.4, "decide": 0.0001}
    assert time_line(timings, {"prompt": 700, "completion": 90, "cached": 150}) == (
        "2.4 s (retrieve 0.03, generate 2.00) · first token after 0.40 s · "
        "700 tokens read (150 of them cached), 90 written"
    )
    assert time_line({"total": 0.01}, {}) == "0.0 s"
