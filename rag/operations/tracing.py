"""One OpenTelemetry span for an answer and one for each of its stages. Ids, counts and fixed words, never text.

Off until `OTEL_EXPORTER_OTLP_ENDPOINT` is set, as OpenTelemetry's own variables go. A `traceparent` of the caller is
the parent. Names follow the semantic conventions for generative AI where they have one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.propagate import extract
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from rag.domain import Answer
from rag.query.events import Completed, Event, StageFinished

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Of what a stage tells about itself, what may leave the house: no question, no title.
_SAFE: Final = ("by", "confidence", "answerable", "engine", "trouble", "withheld", "unknown_markers")
_NANOSECONDS: Final = 1_000_000_000


def open_tracing(environment: Mapping[str, str]) -> Callable[[], None]:
    """Send spans where the environment says, in the background; a call of the result sends the rest and ends it."""
    if not any(environment.get(name) for name in _ENDPOINTS) or environment.get("OTEL_SDK_DISABLED") == "true":
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = environment.get("OTEL_SERVICE_NAME") or "banksight"
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


@contextmanager
def incoming(headers: Mapping[str, str]) -> Iterator[None]:
    """Spans made inside belong to the caller's trace, if its headers name one."""
    token = context.attach(extract(headers))
    try:
        yield
    finally:
        context.detach(token)


async def traced(events: AsyncGenerator[Event, None], tracer: Tracer | None = None) -> AsyncGenerator[Event, None]:
    """The same events, and a span for each stage below one for the whole.

    A sentence is verified while the engine writes the next, so the spans of these two stages may overlap.
    """
    tracer = tracer or trace.get_tracer("banksight")
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
