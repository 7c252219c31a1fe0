"""OpenTelemetry spans: of requests, answers, stages and calls of other processes. Ids, counts, fixed words, never text.

Off until `tracing.endpoint` says where spans go. The `traceparent` of a caller is the parent, and goes on to the
Embedder and the Generator, so that one trace holds all processes. Names follow the semantic conventions for generative
AI, HTTP and databases where they have one.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from rag.domain import Answer
from rag.query.events import Completed, Event, StageFinished
from rag.settings import TracingSettings

# Of what a stage tells about itself, what may leave the house: no question, no title.
_SAFE: Final = ("by", "confidence", "answerable", "engine", "trouble", "withheld", "unknown_markers")
_NANOSECONDS: Final = 1_000_000_000
_EXPORT_SECONDS: Final = 5.0  # for one batch; a collector that is down must not hold up the end of the process
_LONGEST_VALUE: Final = 200  # characters of an attribute: room for ids, none for documents


def open_tracing(settings: TracingSettings, service: str) -> Callable[[], None]:
    """Send spans to `settings.endpoint`, in the background; a call of the result sends the rest and ends it.

    `service` is the process' name in traces. Whether a trace is kept depends on its id alone, so that all processes
    decide alike, and no caller decides for us.
    """
    if not settings.endpoint:
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415

    provider = TracerProvider(
        sampler=TraceIdRatioBased(settings.share),
        resource=Resource.create({"service.name": service}),
        span_limits=SpanLimits(max_attribute_length=_LONGEST_VALUE),
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextmanager
def serving(headers: Mapping[str, str], tracer: Tracer | None = None) -> Iterator[Span]:
    """The span of a request that we serve, below the caller's where `headers` name one.

    Also without tracing there is a trace id, which logs carry.
    """
    parent = extract(headers)
    span = (tracer or _tracer()).start_span("request", parent, kind=SpanKind.SERVER)
    if not span.get_span_context().is_valid:
        ids = SpanContext(random.getrandbits(128), random.getrandbits(64), is_remote=False, trace_flags=TraceFlags(0))
        span = NonRecordingSpan(ids)
    token = context.attach(trace.set_span_in_context(span, parent))
    try:
        yield span
    finally:
        context.detach(token)
        span.end()


@contextmanager
def client_span(name: str, attributes: Mapping[str, Any], tracer: Tracer | None = None) -> Iterator[Span]:
    """The span of a call to another process: Chroma, Redis, a model. `attributes` are ids, counts and fixed words."""
    with (tracer or _tracer()).start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=dict(attributes),
        record_exception=False,  # its message may hold a question
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def outgoing() -> dict[str, str]:
    """The headers that make what another process does a part of the trace we are in."""
    headers: dict[str, str] = {}
    inject(headers)
    return headers


def trace_id() -> str:
    """The id of the trace we are in, 32 hexadecimal digits; empty outside of one."""
    ids = trace.get_current_span().get_span_context()
    return format(ids.trace_id, "032x") if ids.is_valid else ""


def _tracer() -> Tracer:
    return trace.get_tracer("banksight")


async def traced(events: AsyncGenerator[Event, None], tracer: Tracer | None = None) -> AsyncGenerator[Event, None]:
    """The same events, and a span for each stage below one for the whole.

    A sentence is verified while the engine writes the next, so the spans of these two stages may overlap.
    """
    tracer = tracer or _tracer()
    root = tracer.start_span("answer", attributes={"gen_ai.operation.name": "chat"})
    below = trace.set_span_in_context(root)
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, StageFinished):
                    _stage(tracer, below, event)
                elif isinstance(event, Completed):
                    _describe(root, event.answer)
                yield event
    except Exception as error:
        root.set_status(Status(StatusCode.ERROR, type(error).__name__))  # its message may hold a question
        raise
    except BaseException:
        root.set_attribute("banksight.abandoned", True)  # nobody waits for the answer any more
        raise
    finally:
        root.end()


def _stage(tracer: Tracer, below: context.Context, event: StageFinished) -> None:
    ends = time.time_ns()
    attributes: dict[str, Any] = {
        f"banksight.{name}": event.detail[name] for name in _SAFE if event.detail.get(name) is not None
    }
    if isinstance(event.detail.get("passages"), list):
        attributes["banksight.passages"] = len(event.detail["passages"])
    begins = ends - round(event.seconds * _NANOSECONDS)
    tracer.start_span(event.stage, below, attributes=attributes, start_time=begins).end(ends)


def _describe(root: Span, answer: Answer) -> None:
    root.set_attributes(
        {
            "banksight.answer_id": answer.id,
            "banksight.status": answer.status,
            "banksight.citations": len(answer.citations),
            "banksight.snapshot": answer.snapshot,
            "banksight.degraded": answer.degraded,
            "banksight.engine": answer.engine,
            "banksight.prompt_version": answer.prompt_version,
            "gen_ai.request.model": answer.model,
        }
    )
    for ours, theirs in (("prompt", "input"), ("completion", "output")):
        if ours in answer.tokens:
            root.set_attribute(f"gen_ai.usage.{theirs}_tokens", answer.tokens[ours])
